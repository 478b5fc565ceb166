"""A run of a deployment, as a Prefect worker starts it: `python -P -m flows.cli.deployed`.

Prefect goes to the deployment's folder and puts it first on `sys.path` while it imports the flow: a
`tasks.py` or `numpy.py` there would be run. Imported already, the flows are not looked for.
"""

from __future__ import annotations

import runpy

import flows.colorize
import flows.evaluate
import flows.ingest
import flows.pipeline
import flows.preprocess
import flows.train
import flows.watch_inbox  # noqa: F401 - for Prefect, which takes them from sys.modules

if __name__ == "__main__":
    runpy.run_module("prefect.engine", run_name="__main__", alter_sys=True)
