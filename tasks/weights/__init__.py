"""Where models lie on this machine, what they are, and their export for other programs. May import jobs.models."""
