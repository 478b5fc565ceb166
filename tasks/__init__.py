"""The work of one stage for one category or archive: joins `colorization` and `storage`.

Prefect is imported by `tasks.control`, where a process is to have it, by `tasks.prefect_page` and
`tasks.prefect_server`; all others do without it.
"""
