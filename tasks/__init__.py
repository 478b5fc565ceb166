"""The work of one stage for one category or archive: joins `colorization` and `storage`.

Only the modules named after a stage import Prefect; the others serve `plan`, `status` and Dask
workers, which do without it.
"""
