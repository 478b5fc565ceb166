"""`chromaflow review`: a page of this machine alone that shows, corrects and decides.

Import `server` to serve it, `exporting` for what was decided as a CSV or a folder. May import report,
queries, archive, engine, config, jobs, storage; nothing but the command imports it.
"""
