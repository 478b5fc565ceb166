"""Prefect must not be reached unprotected beyond loopback."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from storage.errors import UsageError
from tasks.prefect_server.environment import configure_prefect


def test_a_remote_server_without_credentials_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "environ", {"PREFECT_API_URL": "http://prefect.example:4200/api"})
    with pytest.raises(UsageError, match="loopback"):
        configure_prefect(tmp_path)
    os.environ["PREFECT_API_AUTH_STRING"] = "user:pass"
    configure_prefect(tmp_path)
    assert "PREFECT_HOME" not in os.environ


def test_the_ephemeral_server_keeps_its_state_in_the_workspace_and_the_user_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "environ", {"PREFECT_LOGGING_LEVEL": "DEBUG"})
    configure_prefect(tmp_path)
    assert os.environ["PREFECT_HOME"] == str(tmp_path)
    assert os.environ["PREFECT_LOGGING_LEVEL"] == "DEBUG"
