"""The run report: a page that opens from the disk (`page/`), and its contents as files for programs.

Import `writer` to write one, `changes` to compare two. May import archive, engine, queries, storage.
"""
