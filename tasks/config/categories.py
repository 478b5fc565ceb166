"""[categories]: which VOC classes each category owns, and the names that other sections may use."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Annotated, Any

from colorization.categories import PAPER, VOC_CLASSES, Categories, Category
from colorization.errors import ConfigError
from storage.visible import visible
from tasks.config.problems import Place, Rule
from tasks.config.types import build, check_rules, checked, list_of

RESERVED = ("all", "archive", "list", "segmenter", "shared")
"""Names that mean something else where a category is named."""
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_CLASSES = list_of("VOC classes", *VOC_CLASSES, example="horse")
_PLACES = (("datasets",), ("experts",), ("train", "categories"))
"""Tables whose keys are categories."""


@checked
@dataclass(frozen=True, kw_only=True, slots=True)
class CategoryTable:
    """[categories.NAME] as it is written."""

    classes: Annotated[tuple[str, ...], _CLASSES] = ()
    """VOC classes that it owns; none where rest is true."""
    rest: bool = False
    """Whether it owns every class that no other owns. One category does."""


@checked
@dataclass(frozen=True, kw_only=True, slots=True)
class CategoriesTable:
    """The whole table; without any the four of the paper."""

    categories: dict[str, CategoryTable] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_rules(*_rules(self.categories))

    def built(self) -> Categories:
        """The rest goes last, wherever it is written."""
        if not self.categories:
            return PAPER
        names = sorted(self.categories, key=lambda name: self.categories[name].rest)
        return Categories(tuple(Category(name, self.categories[name].classes) for name in names))


def read_categories(table: Mapping[str, Any], place: Place) -> tuple[Categories, list[str]]:
    """[categories] of a config, and a line for all that is wrong in it and with names of categories."""
    given = {name: table[name] for name in ("categories",) if name in table}
    try:
        read: CategoriesTable = build(CategoriesTable, given, place)
    except ConfigError as error:
        return PAPER, str(error).splitlines()  # which other names are right cannot be said
    categories = read.built()
    return categories, list(_unknown_names(table, categories, place))


def _rules(tables: Mapping[str, CategoryTable]) -> Iterator[Rule]:
    owner: dict[str, str] = {}
    rests = [name for name, table in tables.items() if table.rest]
    for name, table in tables.items():
        key = f"categories.{name}"
        words = "a name of a to z, 0 to 9, - and _, with a letter first, 32 at most"
        yield Rule(_NAME.fullmatch(name) is not None, key, words, name, "Rename it.")
        words = f"a name other than {', '.join(RESERVED)}"
        yield Rule(name not in RESERVED, key, words, name, "Rename it.")
        yield Rule(
            bool(table.classes) != table.rest,
            f"{key}.classes",
            "VOC classes, or none and rest = true",
            table.classes,
            f"Name some of {', '.join(VOC_CLASSES)}, or write rest = true."
            if not table.classes
            else "Take them out: the rest owns what no other category does.",
        )
        for voc in table.classes:
            first = owner.setdefault(voc, name)
            do = f"Take it out of {first} or of {name}."
            twice = table.classes.count(voc) > 1
            yield Rule(
                first == name and not twice,
                f"{key}.classes",
                f"each VOC class once, in one category ({voc} is {first}'s)",
                voc,
                do if first != name else "Name it once.",
            )
    if tables:
        yield Rule(
            len(rests) == 1,
            f"categories.{rests[-1]}.rest" if rests else "categories.places",
            "one category with rest = true, which owns what no other does",
            rests or None,
            "Leave it to one of them." if rests else "Write [categories.places] and rest = true.",
        )


def _unknown_names(table: Mapping[str, Any], categories: Categories, place: Place) -> Iterator[str]:
    """A line for each name elsewhere that is no category."""
    for path in _PLACES:
        for name in _table_at(table, path):
            if name not in categories.names:
                yield _unknown(place.path((*path, name)), name, categories)
    for voc, name in _table_at(table, ("colorize", "classes")).items():
        if isinstance(name, str) and name not in categories.names:
            yield _unknown(place.path(("colorize", "classes", voc)), name, categories)


def _table_at(table: Any, path: tuple[str, ...]) -> dict[str, Any]:
    """A table inside another; empty where there is none."""
    for part in path:
        table = table.get(part, {}) if isinstance(table, Mapping) else {}
    return table if isinstance(table, dict) else {}


def _unknown(path: str, name: str, categories: Categories) -> str:
    near = get_close_matches(name, categories.names, n=1)
    do = f"Write {near[0]}." if near else f"Take it out, or write [categories.{visible(name)}] too."
    return (
        f"{path}: expected a category of {', '.join(categories.names)}; got {visible(name)}. {do}"
    )
