"""Where work runs: one Dask cluster a run, local, by address or by a class; cores and GPUs shared out.

Import `cluster` to fan items out, `slots` for shares. May import config, jobs.items and jobs.versions, storage.
"""
