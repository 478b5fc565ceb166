"""Lab shards of preprocessed photos: written by `writing`, read by `reader`; `file` is zarr v3's shard on disk."""
