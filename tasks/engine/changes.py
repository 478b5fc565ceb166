"""Why what was published no longer counts, in the words of the config and not of the engine."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from tasks.engine.source_news import SourceNews

NOT_MADE = "not made yet"
_FILES = "inputs"
_LISTING = "listing"


def changes(
    now: Mapping[str, Any], before: Mapping[str, Any] | None, news: SourceNews | None = None
) -> tuple[str, ...]:
    """The reasons, a line each, from what a step's fingerprint is made of now and was made of.

    before: of the current output; None where there is none. news: of the step's source.
    """
    if before is None:
        return (NOT_MADE,)
    reasons = [*_config_changes(now["config"], before["config"])]
    for name in sorted(now[_FILES].keys() | before[_FILES].keys()):
        if now[_FILES].get(name) != before[_FILES].get(name):
            reasons += _news(news) if name == _LISTING else [f"file changed: {name}"]
    for name in sorted(now["upstream"].keys() & before["upstream"].keys()):
        if now["upstream"][name] != before["upstream"][name]:
            reasons.append(f"{name} gave something else")
    for name in sorted(now["modules"].keys() | before["modules"].keys()):
        if now["modules"].get(name) != before["modules"].get(name):
            reasons.append(f"code changed: {name}")
    if now["schema"] != before["schema"]:
        reasons.append("made by another version of Chromaflow")
    return tuple(reasons) or (NOT_MADE,)


def as_json(value: Any) -> Any:
    """A value as it is read back from JSON: tuples are lists."""
    return json.loads(json.dumps(value))


def _config_changes(now: Mapping[str, Any], before: Mapping[str, Any]) -> Iterator[str]:
    """Of settings that both versions know; what else there is, a change of the code says."""
    now = as_json(now)
    for name in sorted(now.keys() & before.keys()):
        if now[name] != before[name]:
            yield f"config changed: {name}: {_said(before[name])} → {_said(now[name])}"


def _news(news: SourceNews | None) -> tuple[str, ...]:
    return news.reasons if news is not None and news.reasons else ("files: changed",)


def _said(value: Any) -> str:
    """A setting's value as a user reads it."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {_said(one)}" for key, one in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(map(_said, value)) or "none"
    if isinstance(value, bool):
        return str(value).lower()
    return "none" if value in (None, "") else str(value)
