"""How a config is declared: frozen dataclasses whose fields say what they take. Pydantic checks them.

`checked` makes a dataclass strict: no text for a number, no key that it does not have. Whoever builds
one (chromaflow.toml, prefect.yaml, the parameters of a flow, Python) gets a ConfigError that
names all wrong settings at once, a line each, in the words of `tasks.config.problems`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeVar, get_origin

from pydantic import ConfigDict, GetCoreSchemaHandler, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as pydantic_dataclass
from pydantic_core import CoreSchema, PydanticCustomError, core_schema
from typing_extensions import TypedDict

from colorization.errors import ConfigError
from tasks.config.problems import PYTHON, BrokenRulesError, Place, Rule, problem_lines

T = TypeVar("T")
STRICT = ConfigDict(strict=True, extra="forbid")


@dataclass(frozen=True, slots=True)
class Accepts:
    """What a setting takes, in words; in an annotation, so that pydantic and people read the same.

    A list is taken where the type is a tuple: TOML, YAML and JSON know no other.
    """

    words: str
    holds: Callable[[Any], bool] = lambda value: True
    allowed: tuple[str, ...] = ()
    """The only values there are, if they are so few."""
    example: Any = None
    elsewhere: bool = False
    """Whether a section has this from the top level, so that it is not written there."""

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Called by pydantic."""
        is_tuple = get_origin(source) is tuple

        def check(value: Any, inner: Callable[[Any], Any]) -> Any:
            try:
                value = inner(tuple(value) if is_tuple and isinstance(value, list) else value)
                if self.holds(value):
                    return value
            except ValidationError:
                pass  # said in our own words, of the whole setting
            raise PydanticCustomError("setting", "{words}", {"words": self.words})

        return core_schema.no_info_wrap_validator_function(check, handler(source))


@dataclass(frozen=True, slots=True)
class Each:
    """A list whose entries have settings of their own, so that problems are said of these."""

    words: str

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Called by pydantic."""

        def widen(value: Any) -> Any:
            return tuple(value) if isinstance(value, list) else value

        return core_schema.no_info_before_validator_function(widen, handler(source))


@dataclass(frozen=True, slots=True, eq=False)
class SpeltAs:
    """Other spellings of some values, which are taken for them."""

    others: Mapping[str, str]

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Called by pydantic."""

        def spell(value: Any) -> Any:
            return self.others.get(value, value) if isinstance(value, str) else value

        return core_schema.no_info_before_validator_function(spell, handler(source))


@dataclass(frozen=True, slots=True)
class TriedBy:
    """A check that another module owns: it is called with the value and raises ConfigError."""

    check: Callable[[Any], object]

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Called by pydantic."""

        def check(value: Any) -> Any:
            try:
                self.check(value)
            except ConfigError as error:
                raise PydanticCustomError("refused", "{text}", {"text": str(error)}) from None
            return value

        return core_schema.no_info_after_validator_function(check, handler(source))


@dataclass(frozen=True, slots=True, eq=False)
class TableOf:
    """A table whose keys are not the fields of a config: any of some keys, none of them needed."""

    members: Mapping[str, Any]
    """Key → annotation."""
    defaults: Mapping[str, Any]
    """For examples in messages."""

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Called by pydantic."""
        declare: Any = TypedDict
        table = declare("table", dict(self.members), total=False)
        table.__pydantic_config__ = STRICT
        return handler.generate_schema(table)


def whole(least: int, most: int | None = None, also: int | None = None) -> Accepts:
    """A whole number. also: one more that is taken, below the range."""
    return _range("a whole number", least, most, also)


def number(least: float, most: float | None = None) -> Accepts:
    """A number."""
    return _range("a number", least, most, None)


def over(least: float) -> Accepts:
    """A number that is larger."""
    return Accepts(f"a number over {least:g}", lambda value: value > least)


def one_of(*allowed: str, empty: bool = False) -> Accepts:
    """One of some words. empty: whether "" is taken too, for none of them."""
    taken = ("", *allowed) if empty else allowed
    return Accepts(f"one of {', '.join(allowed)}", lambda value: value in taken, allowed)


def list_of(what: str, *allowed: str, example: str = "") -> Accepts:
    """A list of texts. allowed: the only ones there are; any, if none is given."""
    words = f"a list of {what}" + (f" of {', '.join(allowed)}" if allowed else "")
    shown = (example or allowed[0],) if example or allowed else None
    return Accepts(words, lambda value: not allowed or set(value) <= set(allowed), example=shown)


SEED = Accepts(
    "a whole number of 0 or more, below 2^63", lambda value: 0 <= value < 1 << 63, elsewhere=True
)
PATTERNS = list_of("patterns", example="*.tif")
ENCODING = Accepts(
    "an encoding that Python knows and that extends ASCII, as cp932 or cp850",
    lambda value: not value or _extends_ascii(value),
    example="cp932",
)
PAGES = Accepts(
    "numbers of pages from 1 and ranges of them, as 1,3-5 or 2-",
    lambda value: not value or parse_pages(value) is not None,
    example="1,3-5",
)
LOCATION = Accepts("a path or URL", lambda value: value.strip() != "", example="photos")


def parse_pages(text: str) -> list[tuple[int, float]] | None:
    """First and last of each range of `1,3-5,9-`; None for what is none. Empty for all pages."""
    ranges = []
    for part in text.split(",") if text else ():
        found = re.fullmatch(r"\s*(\d+)\s*(-?)\s*(\d*)\s*", part)
        if found is None or (found[3] and not found[2]) or int(found[1]) < 1:
            return None
        last = float(found[3] or "inf") if found[2] else float(found[1])
        if last < int(found[1]):
            return None
        ranges.append((int(found[1]), last))
    return ranges


def _extends_ascii(encoding: str) -> bool:
    try:
        return b"a/1.~".decode(encoding) == "a/1.~"
    except (LookupError, ValueError):
        return False


def _range(noun: str, least: float, most: float | None, also: float | None) -> Accepts:
    limits = f"{least} or more" if most is None else f"{least}..{most}"
    words = f"{noun} of {'' if also is None else f'{also}, or '}{limits}"
    end = float("inf") if most is None else most
    return Accepts(words, lambda value: least <= value <= end or value == also)


def checked(cls: type[T]) -> type[T]:
    """Make a frozen dataclass strict: pydantic validates what it is built from, anywhere.

    Its own checks, of several fields together, stay in `__post_init__` (`check_rules`).
    """
    cls.__get_pydantic_core_schema__ = classmethod(_from_table)  # type: ignore[attr-defined]
    new = pydantic_dataclass(cls, config=STRICT, frozen=True, kw_only=True, slots=True)
    validated = new.__init__

    def initialise(self: Any, **values: Any) -> None:
        try:
            validated(self, **values)
        except ValidationError as error:
            raise ConfigError("\n".join(problem_lines(error, new, PYTHON))) from None

    new.__init__ = initialise  # type: ignore[method-assign]
    return new  # type: ignore[return-value]


def _from_table(cls: Any, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
    """The class's schema, which takes a table too: strict is said of its fields."""
    schema: Any = handler(source)
    schema["strict"] = False
    return schema  # type: ignore[no-any-return]


def build(kind: Any, values: Any, place: Place, known: Sequence[str] = ()) -> Any:
    """A config, or any annotated type, from what was read.

    known: problems that were found before. Raises ConfigError with them and all others.
    """
    lines = list(known)
    try:
        built = TypeAdapter(kind).validate_python(values)
    except ValidationError as error:
        lines += problem_lines(error, kind, place)
    if lines:
        raise ConfigError("\n".join(lines))
    return built


def changed(config: T, values: Mapping[str, Any], place: Place = PYTHON) -> T:
    """A config with some fields replaced. Raises ConfigError."""
    before = {f.name: getattr(config, f.name) for f in fields(config)}  # type: ignore[arg-type]
    new: T = build(type(config), {**before, **values}, place)
    return new


def check_rules(*rules: Rule) -> None:
    """Raise ConfigError with all rules that do not hold."""
    if broken := [rule for rule in rules if not rule.holds]:
        raise BrokenRulesError(broken)


def canonical(config: Any) -> dict[str, Any]:
    """A config as JSON values, for a fingerprint: what is read back from a record compares equal."""
    values: dict[str, Any] = _as_json(asdict(config))
    return values


def _as_json(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _as_json(inner) for key, inner in value.items()}
    return [_as_json(inner) for inner in value] if isinstance(value, (list, tuple)) else value
