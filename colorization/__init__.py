"""Arrays in, arrays out: Lab, networks, training, segmentation, merging, metrics.

Nothing here knows files, Prefect or Dask. Importing the package imports no torch.
"""
