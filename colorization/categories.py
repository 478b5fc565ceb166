"""Semantic categories: the VOC 2012 classes that each one owns. `places` owns the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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


CATEGORIES = (
    Category("people", ("person",)),
    Category("birds", ("bird",)),
    Category("animals", ("cat", "cow", "dog", "horse", "sheep")),
    Category("places", ()),
)
"""The paper's four. The last one owns every class that no other owns."""
CATEGORY_NAMES = tuple(category.name for category in CATEGORIES)
REST = CATEGORIES[-1].name


def category_index(name: str) -> int:
    """Position of a category in `CATEGORIES`. Raises ConfigError naming the allowed ones."""
    if name not in CATEGORY_NAMES:
        raise ConfigError(f"Expected a category of {', '.join(CATEGORY_NAMES)}; got {name!r}.")
    return CATEGORY_NAMES.index(name)


def class_to_category(
    classes: Sequence[str] = VOC_CLASSES, owners: Mapping[str, str] | None = None
) -> list[int]:
    """For each class, the index of the category that owns it.

    owners: class → category where it is to be another. Raises ConfigError for an unknown one.
    """
    owner = {voc: i for i, category in enumerate(CATEGORIES) for voc in category.voc_classes}
    for name, category in (owners or {}).items():
        if name not in classes:
            raise ConfigError(f"Expected a class of {', '.join(classes)}; got {name!r}.")
        owner[name] = category_index(category)
    return [owner.get(name, len(CATEGORIES) - 1) for name in classes]
