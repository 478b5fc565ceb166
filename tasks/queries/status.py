"""What a workspace holds and what this machine can do, without torch or Prefect."""

from __future__ import annotations

import os
import platform
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import (
    PackageNotFoundError,
    metadata,
    packages_distributions,
    requires,
    version,
)
from pathlib import Path
from typing import Any

from chromaflow.errors import ChromaflowError
from colorization.categories import CATEGORY_NAMES
from storage.errors import PhotoError, is_policy
from storage.photos.samples import codec_problems
from storage.records.names import QUARANTINE_NAME
from storage.records.tables import read_rows
from storage.records.workspace import Workspace
from tasks.archive.decided import review_counts
from tasks.archive.ownership import claimed
from tasks.config.model import Workflow
from tasks.engine.stages import plan_row
from tasks.engine.verification import read_success
from tasks.graph import build_steps, plan
from tasks.stage_table import STAGE_NAMES
from tasks.weights.models import ModelFile, imagenet_encoder, segmenter_file, starter_file

_US, _TOP_LEVEL = "chromaflow", ("chromaflow", "colorization", "flows", "storage", "tasks")
_LEAST_FREE = 5.0
"""GB."""
_GPU_SECONDS = 10
_DYING_SECONDS = 1.0
_PACKAGES = ("prefect", "dask", "torch", "torchvision", "zarr", "numpy", "pillow", "tifffile")


def stage_status(workspace: Workspace) -> list[dict[str, Any]]:
    """One row a published step: counts, seconds, peak memory, folder."""
    rows = []
    for stage in STAGE_NAMES:
        for link in workspace.all_current():
            success = read_success(link) if link.parent.name == stage else None
            if success is not None:
                keep = {name: getattr(success, name) for name in ("counts", "seconds", "peak_mb")}
                rows.append({"step": f"{stage}/{link.name}", **keep, "folder": str(link.resolve())})
    return rows


def quarantine_rows(
    workspace: Workspace,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Every photo of the current outputs that failed, and every one that was skipped, with its key."""
    rows: list[dict[str, Any]] = []
    for link in workspace.all_current():
        table = link / QUARANTINE_NAME
        rows += [{"key": link.name, **row} for row in read_rows(table)] if table.exists() else []
    failed = [row for row in rows if not is_policy(row["code"])]
    return failed, [row for row in rows if is_policy(row["code"])]


def planned(load: Callable[[], Workflow]) -> tuple[list[dict[str, Any]], str]:
    """What `plan` would say of every step of the workflow that `load` gives; or else why it cannot.

    A workspace can be looked at where its photos are not.
    """
    try:
        return [plan_row(decision) for decision in plan(build_steps(claimed(load()))).values()], ""
    except ChromaflowError as error:
        return [], str(error)


def reviewed(workspace: Workspace, load: Callable[[], Workflow]) -> dict[str, int]:
    """How many photos were decided in a review, by what; empty where the output is not known."""
    try:
        archive = load().archive
    except ChromaflowError:
        return {}
    return review_counts(workspace, archive.output) if archive is not None else {}


def doctor(workspace: Workspace) -> list[tuple[str, str, bool]]:
    """(what, finding, whether it is fine) of everything that a run needs; what is not says what mends it."""
    existing = next(p for p in [workspace.root, *workspace.root.resolve().parents] if p.exists())
    free = shutil.disk_usage(existing).free / 1e9
    room = (
        "" if free > _LEAST_FREE else "; delete something there, or name another disk as workspace"
    )
    checks = [
        ("Chromaflow", *_ourselves()),
        ("Python", *_python()),
        ("names", *_names()),
        ("cores", str(os.cpu_count()), True),
        ("bf16", "native" if _cpu_has("avx512_bf16", "amx_bf16") else "no: fp32 is used", True),
        ("GPU", *_gpu()),
        ("disk", f"{free:.0f} GB free at {existing}{room}", free > _LEAST_FREE),
    ]
    checks += [_package(name) for name in _PACKAGES]
    checks += [_extra(name) for name in _extras()]
    checks += [_codec(name, problem) for name, problem in codec_problems().items()]
    checks += [_model(model) for model in known_models()]
    return checks


def _ourselves() -> tuple[str, bool]:
    """Version and where it lies."""
    where = Path(__file__).parents[2]
    try:
        return f"{version(_US)} at {where}", True
    except PackageNotFoundError:
        return f"not installed, only found at {where}; `pip install {where}`", False


def _python() -> tuple[str, bool]:
    found, fine = platform.python_version(), sys.version_info >= (3, 11)
    return found + ("" if fine else "; `uv venv --python 3.12`, or a newer Python's venv"), fine


def _names() -> tuple[str, bool]:
    """Whether another package has brought a folder of the same name as one of ours."""
    homes = packages_distributions()
    others = {name: {h for h in homes.get(name, ()) if h.lower() != _US} for name in _TOP_LEVEL}
    found = [f"{', '.join(sorted(of))} has {name} too" for name, of in others.items() if of]
    if not found:
        return f"{', '.join(_TOP_LEVEL)} are ours alone", True
    return f"{'; '.join(found)}; `python -m venv NEW && NEW/bin/pip install {_US}`", False


def _extras() -> list[str]:
    """Those for users."""
    try:
        named = metadata(_US).get_all("Provides-Extra") or []
    except PackageNotFoundError:
        return []
    return [name for name in named if name not in ("dev", "docs", "test")]


def _extra(name: str) -> tuple[str, str, bool]:
    """Whether its packages are here; none is needed unless it is wanted."""
    wanted = [line for line in requires(_US) or [] if re.search(rf"extra == .{name}\W", line)]
    packages = [re.split(r"[^\w.-]", line)[0] for line in wanted]
    missing = [package for package in packages if not _package(package)[2]]
    finding = f"not here; `pip install '{_US}[{name}]'`" if missing else "here"
    return f"extra {name}", finding, True


def known_models() -> list[ModelFile]:
    """Every model the package knows by name."""
    names = (
        "starter",
        "torchvision:deeplabv3_resnet101",
        "torchvision:lraspp_mobilenet_v3_large",
        "torchvision:deeplabv3_mobilenet_v3_large",
    )
    starters = [starter_file(name) for name in CATEGORY_NAMES]
    return [*starters, *(segmenter_file(name) for name in names), imagenet_encoder()]


def _model(model: ModelFile) -> tuple[str, str, bool]:
    optional = model.name.startswith("torchvision:")
    if model.present:
        finding = f"{model.path.stat().st_size / 1e6:.1f} MB"
    else:
        again = f"missing; `pip install --force-reinstall --no-deps {_US}`"
        finding = f"not here; `chromaflow models fetch {model.name}`" if optional else again
    return model.name, finding, model.present or optional


def _package(name: str) -> tuple[str, str, bool]:
    try:
        return name, version(name), True
    except PackageNotFoundError:
        return name, f"missing; `pip install {name}`", False


def _cpu_has(*flags: str) -> bool:
    path = Path("/proc/cpuinfo")
    words = set(path.read_text(errors="replace").split()) if path.exists() else set()
    return bool(words & set(flags))


def _codec(name: str, problem: PhotoError | None) -> tuple[str, str, bool]:
    """One that needs a package which nobody asked for is no fault of the machine."""
    if problem is None:
        return f"codec {name}", "decodes", True
    finding = f"{problem.code}: {problem.detail}"
    return f"codec {name}", finding, problem.code == "CODEC_MISSING"


def _gpu() -> tuple[str, bool]:
    """What nvidia-smi says. A driver that hangs keeps it from ending, even when it is killed."""
    command = shutil.which("nvidia-smi")
    if command is None:
        return "none: CPU is used", True
    query = [command, "--query-gpu=name", "--format=csv,noheader"]
    options: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    try:
        process = subprocess.Popen(query, start_new_session=True, text=True, **options)
    except OSError as error:
        return f"{command} does not start: {error.strerror}", False
    try:
        found, _ = process.communicate(timeout=_GPU_SECONDS)
    except subprocess.TimeoutExpired:
        _abandon(process)
        return (
            f"{command} gave no answer in {_GPU_SECONDS} s: restart the machine or its driver, or "
            'set [compute] device = "cpu"',
            False,
        )
    return found.strip() or "none: CPU is used", True


def _abandon(process: subprocess.Popen[str]) -> None:
    """Kill it and its children, close its pipe, and wait no longer than a moment for its end."""
    os.killpg(process.pid, signal.SIGKILL)
    if process.stdout is not None:
        process.stdout.close()
    with suppress(subprocess.TimeoutExpired):
        process.wait(_DYING_SECONDS)
