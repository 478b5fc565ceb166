"""`chromaflow evaluate IN`: several systems on colour photos made gray, their tables, figures and FID.

Import `photos` for the command. May import archive, compute, config, engine, jobs.evaluation, weights.
"""
