"""A thin room over `colorization` and `storage`: what a photo is and what the networks say of it, joined.

`import chromaflow` gives what is public. `tasks` stands on it too: what a run and a caller of the
library both do is done here once. No Prefect, no Dask.
"""
