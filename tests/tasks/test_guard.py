"""The guard of an ephemeral server lives as long as the process that started it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
CODE = """
import gc, os, psutil
from tasks.prefect_server.guard import guard_server
guard_server()
gc.collect()
(guard,) = psutil.Process().children()
assert psutil.wait_procs([guard], timeout=2)[1] == [guard], "the guard is gone before its run"
os._exit(0)
"""


def test_the_guard_is_there_as_long_as_its_run_and_leaks_nothing(tmp_path: Path) -> None:
    environment = {key: v for key, v in os.environ.items() if key != "PREFECT_API_URL"}
    environment |= {"PYTHONPATH": str(ROOT), "PREFECT_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", "-c", CODE],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0 and "ResourceWarning" not in done.stderr, done.stderr
