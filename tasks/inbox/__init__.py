"""A folder that photos arrive in: what is new, what is still being written, copies of what left."""
