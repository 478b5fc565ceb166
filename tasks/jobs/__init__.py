"""What one Dask worker does with one shard, chunk or category. No Prefect import reaches here."""
