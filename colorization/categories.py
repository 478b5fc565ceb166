"""Semantic categories: the VOC 2012 classes that each one owns. The last one owns the rest.

The paper has four; a config may name others (docs/decisions/046).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from colorization.errors import ConfigError

VOC_CLASSES = tuple(
    [
        "background",
        "aeroplane",
        "bicycle",
        "bird",
        "boat",
        "bottle",
        "bus",
        "car",
        "cat",
        "chair",
        "cow",
        "diningtable",
        "dog",
        "horse",
        "motorbike",
        "person",
        "pottedplant",
        "sheep",
        "sofa",
        "train",
        "tvmonitor",
    ]
)
"""Pascal VOC 2012 in its official order; torchvision's segmentation weights use it too."""


@dataclass(frozen=True, slots=True)
class Category:
    """A semantic group of photos with its own expert."""

    name: str
    voc_classes: tuple[str, ...]
    """Classes it owns by name, never by palette value (the authors' slip, facts/colorization.md)."""


@dataclass(frozen=True, slots=True)
class Categories:
    """All categories of a workflow, in their order. The last one owns every class that no other owns.

    Raises ConfigError for fewer than one, an unknown class, a name or a class that is there twice.
    """

    of: tuple[Category, ...]

    def __post_init__(self) -> None:
        classes = [voc for category in self.of for voc in category.voc_classes]
        unknown = [voc for voc in classes if voc not in VOC_CLASSES]
        twice = [w for words in (list(self.names), classes) for w in words if words.count(w) > 1]
        if unknown:
            raise ConfigError(f"Expected classes of {', '.join(VOC_CLASSES)}; got {unknown[0]!r}.")
        if twice:
            raise ConfigError(
                f"Expected each name once and each class in one category, got {twice[0]!r} twice."
            )
        if not self.of or self.of[-1].voc_classes:
            raise ConfigError("Expected a last category without classes, which owns the rest.")

    def __len__(self) -> int:
        return len(self.of)

    @property
    def names(self) -> tuple[str, ...]:
        """Of all, in their order."""
        return tuple(category.name for category in self.of)

    @property
    def rest(self) -> str:
        """The name of the one that owns every class that no other owns."""
        return self.of[-1].name

    def index(self, name: str) -> int:
        """Position of a category. Raises ConfigError naming the allowed ones."""
        if name not in self.names:
            raise ConfigError(f"Expected a category of {', '.join(self.names)}; got {name!r}.")
        return self.names.index(name)

    def owners(
        self, classes: Sequence[str] = VOC_CLASSES, moved: Mapping[str, str] | None = None
    ) -> list[int]:
        """For each class, the index of the category that owns it.

        moved: class → category where it is to be another. Raises ConfigError for an unknown one.
        """
        owner = {voc: i for i, category in enumerate(self.of) for voc in category.voc_classes}
        for name, category in (moved or {}).items():
            if name not in classes:
                raise ConfigError(f"Expected a class of {', '.join(classes)}; got {name!r}.")
            owner[name] = self.index(category)
        return [owner.get(name, len(self.of) - 1) for name in classes]

    def parent(self, name: str) -> str:
        """The category of the paper whose starter expert one starts from: that of its first class."""
        first = self.of[self.index(name)].voc_classes[:1]
        return next((own.name for own in CATEGORIES if first and first[0] in own.voc_classes), REST)

    def to_json(self) -> list[list[Any]]:
        """Name and classes of each."""
        return [[category.name, list(category.voc_classes)] for category in self.of]

    @classmethod
    def from_json(cls, values: Iterable[Sequence[Any]] | None) -> Self:
        """From `to_json`; the paper's where nothing is said, as in records of older versions."""
        if values is None:
            return cls(CATEGORIES)
        return cls(tuple(Category(name, tuple(classes)) for name, classes in values))


CATEGORIES = (
    Category("people", ("person",)),
    Category("birds", ("bird",)),
    Category("animals", ("cat", "cow", "dog", "horse", "sheep")),
    Category("places", ()),
)
"""The paper's four."""
PAPER = Categories(CATEGORIES)
CATEGORY_NAMES = PAPER.names
REST = PAPER.rest
COLOURS = {
    "people": (220, 90, 80),
    "birds": (90, 150, 230),
    "animals": (240, 180, 70),
    "places": (110, 170, 110),
}
_OTHER_COLOURS = (
    (150, 100, 200),
    (70, 190, 190),
    (230, 120, 180),
    (150, 110, 70),
    (200, 210, 90),
    (60, 90, 160),
    (170, 170, 180),
    (120, 40, 60),
)


def category_colours(names: Iterable[str]) -> dict[str, tuple[int, int, int]]:
    """Name → the sRGB colour that a category has in pictures; the paper's always the same."""
    names = list(names)
    others = [name for name in names if name not in COLOURS]
    own = {name: _OTHER_COLOURS[i % len(_OTHER_COLOURS)] for i, name in enumerate(others)}
    return {name: COLOURS.get(name) or own[name] for name in names}
