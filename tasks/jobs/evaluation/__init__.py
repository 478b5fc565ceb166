"""Colour photos made gray, coloured by every system, measured and drawn in Dask workers. No Prefect.

Import `items` for what is sent; the work is in `photos` and `drawing`.
"""
