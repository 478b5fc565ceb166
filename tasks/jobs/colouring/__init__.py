"""A photo of an archive on its way through a worker: opened, asked, coloured, written, or taken over.

Import these from jobs only. May import colorization, storage, jobs.items and jobs.stage_items.
"""
