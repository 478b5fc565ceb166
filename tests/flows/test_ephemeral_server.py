"""The server that a command starts for itself: beside it, on loopback, and gone with it."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import psutil

ROOT = Path(__file__).parents[2]
RUN = """
import json, os, sys
from flows.cli.app import main
try:
    main()
finally:
    url = os.environ.get("PREFECT_API_URL")
    print(json.dumps([url, "prefect.server.api.server" in sys.modules]), file=sys.stderr)
"""


def test_the_server_starts_beside_the_flow_and_is_never_imported_into_it(
    tmp_path: Path, make_photo: Callable[..., Path], ephemeral_server: None
) -> None:
    for seed in range(3):
        make_photo(tmp_path / "birds" / f"{seed}.png", seed=seed)
    (tmp_path / "chromaflow.toml").write_text('[datasets]\nbirds = "birds"\n')
    done = subprocess.run(
        [sys.executable, "-c", RUN, "run", "--until", "ingest", "--json"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["steps"][0]["counts"]["done"] == 3
    url, is_imported = json.loads(done.stderr.splitlines()[-1])
    assert urlsplit(url).hostname == "127.0.0.1" and not is_imported
    port = urlsplit(url).port
    listening = [c for c in psutil.net_connections("tcp") if c.status == psutil.CONN_LISTEN]
    assert port not in [c.laddr.port for c in listening], "it ended with the command"
    (database,) = tmp_path.rglob(".prefect/prefect.db")
    with closing(sqlite3.connect(database)) as connection:
        states = connection.execute("SELECT state_type FROM flow_run").fetchall()
    assert states == [("COMPLETED",)]
