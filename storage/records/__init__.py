"""Durable records: atomic files, manifests, fingerprints, checkpoints, the workspace and its lock.

Import `ledger` to write, `workspace` for where things lie. May import errors and formats.
"""
