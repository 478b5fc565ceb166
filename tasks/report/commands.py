"""The commands that a report names: to do it again, and to try again what failed."""

from __future__ import annotations

import shlex

from tasks.config.request import BEST, ColorizeRequest

_FLAGS = ("salvage", "sidecar", "keep_times", "uncertainty")
_OPTIONS = (
    *("segmenter", "merge", "palette", "palette_from", "series", "variants"),
    *("toning", "pages", "range", "format", "label", "hints", "abstain", "saturation"),
)


def reproduce_command(request: ColorizeRequest | None, output: str | None) -> str:
    """The command line of a run. request: None for a workspace of a config. output: the OUT; it is where
    another one is to be named."""
    if request is None or output is None:
        return "chromaflow run"
    words = ["chromaflow", "colorize", request.archive, output]
    settings = request.settings
    if request.models:
        words += ["--models", request.models]
    if request.experts != BEST:
        words += ["--experts", request.experts]
    for name, patterns in (("include", request.include), ("exclude", request.exclude)):
        words += [word for value in patterns for word in (f"--{name}", value)]
    for name in _OPTIONS:
        if settings.get(name) is not None:
            words += [f"--{name.replace('_', '-')}", str(settings[name])]
    words += [word for code in settings.get("accept") or () for word in ("--accept", code)]
    photos = settings.get("accept_photos") or ()
    words += [word for pattern in photos for word in ("--accept-photo", pattern)]
    given = [name for name in _FLAGS if settings.get(name) is not None]
    words += [f"--{'' if settings[n] else 'no-'}{n.replace('_', '-')}" for n in given]
    if settings.get("certificates"):
        words += ["--sign", settings["certificates"], settings["key"]]
    if not request.follow:
        words.append("--no-follow")
    if request.encoding:
        words += ["--encoding", request.encoding]
    if request.bag:
        words.append("--bag")
    return shlex.join(words)


def retry_command(output: str | None, code: str | None = None) -> str:
    """The command that tries photos in quarantine again: those of a reason, or whose may have passed."""
    return _on(output, "retry", *(["--reason", code] if code else []))


def review_command(output: str | None) -> str:
    """The command that serves the review page."""
    return _on(output, "review")


def status_command(output: str | None) -> str:
    """The command that says how it stands."""
    return _on(output, "status")


def compare_command(output: str | None) -> str:
    """The beginning of the command that compares two runs: `--run` and `--against` follow with their ids."""
    return _on(output, "report")


def _on(output: str | None, command: str, *options: str) -> str:
    """A command on an OUT, or on the workspace of a config."""
    return shlex.join(["chromaflow", command, *([output] if output else []), *options])
