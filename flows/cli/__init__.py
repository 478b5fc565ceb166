"""The `chromaflow` command: parse, call a flow or a query, print. Nothing else imports it.

`app` holds the commands and `main`; the others hold what their commands share. May import flows, tasks, storage.
"""
