"""One network's training in a Dask worker: resume, epochs, weights, card. Import `train`. No Prefect."""
