"""All that knows of a Prefect server: settings, one of our own and its end, deployments, serving.

Nothing else imports Prefect's server side. May import engine and storage.
"""
