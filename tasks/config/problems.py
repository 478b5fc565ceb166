"""What pydantic refuses, in the house's words: PATH: expected …, got …. Do …"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, time
from difflib import get_close_matches
from typing import Any

from pydantic import TypeAdapter, ValidationError

from colorization.errors import ConfigError
from storage.visible import visible
from tasks.config.members import Member, allowed_keys, is_table, member_at, members_of

_MOST_SHOWN = 80
_WORDS = {
    "string": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "tuple": "a list",
    "list": "a list",
    "dict": "a table of settings",
    "dataclass": "a table of settings",
    "mapping": "a table of settings",
}
_BOOLS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


@dataclass(frozen=True, slots=True)
class Rule:
    """What must hold between several settings of a table."""

    holds: bool
    key: str
    """Its path in the table, with dots."""
    words: str
    value: Any
    do: str


class BrokenRulesError(ConfigError):
    """Settings that are fine alone and not together."""

    code = "RULES_BROKEN"

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.rules = rules
        super().__init__(
            "\n".join(_line(rule.key, rule.words, rule.value, rule.do) for rule in rules)
        )


@dataclass(frozen=True, slots=True)
class Place:
    """Where settings were written: how a path is spelled there, and a setting."""

    before: str = ""
    """In front of every line: the file."""
    assign: str = " = "
    sections: bool = False
    """Whether tables are named in brackets, as TOML does."""
    options: bool = False
    """Whether they are options of a command."""

    def path(self, loc: Sequence[Any]) -> str:
        """Of a setting."""
        names = [visible(str(part)) for part in loc]
        if self.options:
            return self.before + f"--{names[0]}".replace("_", "-")
        if not self.sections:
            dotted = "".join(f"[{p}]" if p.isdigit() else f".{p}" for p in names)
            return self.before + dotted.removeprefix(".")
        *tables, last = names or [""]
        return self.before + (f"[{'.'.join(tables)}] {last}" if tables else last)

    def table(self, loc: Sequence[Any]) -> str:
        """Of a table."""
        if not self.sections or not loc:
            return self.path(loc)
        return f"{self.before}[{'.'.join(visible(str(part)) for part in loc)}]"


PYTHON = Place()
OPTIONS = Place(options=True, assign=" ")


def problem_lines(error: ValidationError, kind: Any, place: Place) -> list[str]:
    """A line a wrong setting. kind: what was to be built."""
    return [line for problem in error.errors() for line in _lines(dict(problem), kind, place)]


def shown(value: Any) -> str:
    """A value as a person would write it, with what kind it is."""
    if value is None:
        return "nothing"
    kinds = ((str, "the text "), (list | tuple, "the list "), (dict, "the table "))
    if isinstance(value, (date, time)):
        return f"the time {value}"
    noun = next((word for kind, word in kinds if isinstance(value, kind)), "")
    text = literal(value)
    return noun + (text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…")


def literal(value: Any) -> str:
    """A value as TOML, YAML and JSON write it, nearly."""
    return visible(json.dumps(value, ensure_ascii=False, default=str))


def _lines(problem: dict[str, Any], kind: Any, place: Place) -> Iterator[str]:
    loc, value, context = tuple(problem["loc"]), problem["input"], problem.get("ctx", {})
    error = context.get("error")
    if loc and loc[-1] == "[key]":
        yield _unknown(loc[:-1], kind, place)
    elif problem["type"] in ("unexpected_keyword_argument", "extra_forbidden", "invalid_key"):
        yield _unknown(loc, kind, place)
    elif isinstance(error, BrokenRulesError):
        for rule in error.rules:
            yield _line(place.path((*loc, *rule.key.split("."))), rule.words, rule.value, rule.do)
    elif isinstance(error, ValueError):
        for text in str(error).splitlines():
            yield f"{place.table(loc)}: {_small(text)}".removeprefix(": ")
    else:
        member = member_at(kind, loc)
        do = _remedy(member, value, loc, place)
        path = place.table(loc) if member.is_table else place.path(loc)
        if problem["type"] == "refused":
            said = re.sub(rf"^expected {loc[-1]} (of )?", "expected ", _small(problem["msg"]))
            yield f"{path}: {said} {do}"
        else:
            words = _expected(problem, member)
            yield _line(path, words, None if problem["type"].startswith("missing") else value, do)


def _line(path: str, words: str, value: Any, do: str) -> str:
    return f"{path}: expected {words}, got {shown(value)}. {do}"


def _small(text: str) -> str:
    """A sentence of ours, to stand behind a path."""
    return visible(text.replace("Expected", "expected", 1))


def _expected(problem: dict[str, Any], member: Member) -> str:
    if problem["type"] == "setting":
        return str(problem["ctx"]["words"])
    for mark in member.marks:
        if words := getattr(mark, "words", ""):
            return str(words)
    word = problem["type"].split("_")[0]
    named = {str: "string", int: "int", float: "float", bool: "bool"}
    if word not in _WORDS:
        word = "dict" if is_table(member.bare) else named.get(member.bare, "tuple")
    return _WORDS[word]


def _unknown(loc: Sequence[Any], kind: Any, place: Place) -> str:
    name, parent = str(loc[-1]), loc[:-1]
    allowed = allowed_keys(kind, parent)
    members = members_of(member_at(kind, parent))
    tables = [table for table, member in members.items() if name in members_of(member)]
    if tables and place.sections:
        do = f"Write it below {place.table((*parent, tables[0])).removeprefix(place.before)}."
    elif near := get_close_matches(name, allowed, n=1):
        do = f"Write {near[0]}."
    else:
        do = "Take it out."
    words = f"a key of {', '.join(allowed)}"
    return f"{place.path(loc)}: expected {words}; got {visible(name)}. {do}"


def _remedy(member: Member, value: Any, loc: Sequence[Any], place: Place) -> str:
    """What to write instead: the value as it was probably meant, else an example."""
    if member.is_table:
        if not place.sections:
            return "Give its settings by name."
        return (
            f"Write {place.table(loc).removeprefix(place.before)} on a line, its settings below it."
        )
    for candidate in _candidates(member, value):
        if candidate not in (None, "", (), []) and _fits(member.annotation, candidate):
            name = next((str(part) for part in reversed(loc) if not isinstance(part, int)), "it")
            example = "" if _means(candidate, value) else ", for example"
            name = place.path(loc) if place.options else visible(name)
            return f"Write {name}{place.assign}{literal(candidate)}{example}."
    return "Correct it."


def _candidates(member: Member, value: Any) -> Iterator[Any]:
    if isinstance(value, str):
        yield _BOOLS.get(value.lower()) if member.bare is bool else None
        for convert in (int, float):
            try:
                yield convert(value)
            except (ValueError, OverflowError):
                continue
        yield (value,)
        allowed = [a for mark in member.marks for a in getattr(mark, "allowed", ())]
        yield next(iter(get_close_matches(value, allowed, n=1)), None)
    elif member.bare is str and isinstance(value, (int, float)) and not isinstance(value, bool):
        yield literal(value)
    yield member.default
    for mark in member.marks:
        yield getattr(mark, "example", None)
        yield from getattr(mark, "allowed", ())


def _means(candidate: Any, value: Any) -> bool:
    """Whether a candidate is the value itself in the right kind."""
    if isinstance(candidate, bool) and isinstance(value, str):
        return value.lower() in _BOOLS
    return literal(candidate).strip('[]"').lower() == str(value).lower()


def _fits(annotation: Any, candidate: Any) -> bool:
    try:
        TypeAdapter(annotation).validate_python(candidate)
    except ValidationError:
        return False
    return True
