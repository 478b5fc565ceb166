"""The stage engine: fingerprint, decision with reasons, fan out, publish, retry, verification, events, progress.

Import `execute` to run a step, `stages` for the decision, `verification` for what is published. It knows no stage by name:
which there are stands in `tasks.graph`. May import config, compute, jobs.items and storage.
"""
