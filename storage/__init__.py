"""Bytes to arrays and files to records: photos, manifests, shards, checkpoints, the ledger.

Nothing here knows torch, Prefect or Dask.
"""
