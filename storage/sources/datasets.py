"""The published datasets of the paper (section 1.2) as they are downloaded, and plain collections.

A layout names, labels and splits what a source lists; it reads list files, never photos. Official
splits are kept: train, val, and test where there is one.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from storage.allowed import LAYOUTS
from storage.errors import UsageError
from storage.sources.archives import is_archive_name
from storage.sources.catalogue import Arranged, Catalogue, Entry, Unlabelled
from storage.sources.entries import Listing, Problem, SourceFile
from storage.sources.no_photo import has_text_name
from storage.sources.selecting import select_files
from storage.sources.source import Source
from storage.sources.walk import without_twins

_ANIMALS = {
    "cane": "dog",
    "cavallo": "horse",
    "elefante": "elephant",
    "farfalla": "butterfly",
    "gallina": "chicken",
    "gatto": "cat",
    "mucca": "cow",
    "pecora": "sheep",
    "ragno": "spider",
    "scoiattolo": "squirrel",
}
"""Folder names of Animals-10's raw-img, Italian to English."""
_PLACES_TRAIN = {"data_256", "data_256_standard"}
"""As in the tar, and as torchvision renames it."""
_KAGGLE_NAME = "archive.zip"
"""Kaggle calls every download so; its name alone says nothing."""
_LIST_ENDS = (".txt", ".csv")
_SPLIT_FOLDERS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}


@dataclass(frozen=True, slots=True)
class _Layout:
    name: str
    detect: Callable[[set[str]], bool]
    """Whether the parts of the listed paths look like this layout."""
    arrange: Callable[[Catalogue], Arranged]
    archives: tuple[str, ...] = ()
    """Names under which its archives are published; read where they lie in a folder."""


def arrange(
    source: Source,
    layout: str = "auto",
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
) -> Arranged:
    """The entries of a dataset in the source's order.

    layout: a name of `storage.allowed.LAYOUTS`, or auto. include, exclude: see `select_files`. Raises UsageError for an unknown layout, for a dataset
    without photos of that layout, and for a list file that is missing or wrong.
    """
    if layout not in ("auto", *LAYOUTS):
        raise UsageError(f"Expected a layout of auto, {', '.join(LAYOUTS)}; got {layout!r}.")
    listing = without_twins(select_files(source.listing(), include, exclude))
    chosen = _LAYOUTS[layout] if layout != "auto" else _detect(source, listing)
    catalogue = Catalogue(source, listing, chosen.archives)
    arranged = chosen.arrange(catalogue)
    return Arranged(
        chosen.name,
        arranged.entries,
        catalogue.listing.problems + arranged.problems,
        arranged.num_listed_missing,
        catalogue.listing.left_out,
        catalogue.listing.num_guessed,
    )


def _detect(source: Source, listing: Listing) -> _Layout:
    inside = {part for file in listing.files for part in _telling(file.path)}
    beside = {file.path.lower() for file in source.beside()}
    published = (
        layout
        for layout in _LAYOUTS.values()
        if inside & {name.lower() for name in layout.archives} - {_KAGGLE_NAME}
    )
    *known, plain = _LAYOUTS.values()
    # what lies beside an archive may belong to another one, so it is asked last
    found = (
        layout for parts in (inside, inside | beside) for layout in known if layout.detect(parts)
    )
    return next(published, None) or next(found, plain)


def _telling(path: str) -> list[str]:
    """The parts of a path that layouts ask about: a photo's own name is not among them."""
    *folders, name = path.lower().split("/")
    return [*folders, name] if name.endswith(_LIST_ENDS) or is_archive_name(name) else folders


def _celeba(catalogue: Catalogue) -> Arranged:
    """img_align_celeba/NNNNNN.jpg and list_eval_partition.txt: 0 train, 1 val, 2 test."""
    expected = "NNNNNN.jpg 0|1|2"
    name = "list_eval_partition.txt"
    table = catalogue.table(name, expected, "list_eval_partition.csv")
    catalogue.require(name, expected, table, "1", "[012]")
    splits = table["1"].map({"0": "train", "1": "val", "2": "test"})
    official = dict(zip(table["0"], splits, strict=True))
    photos = [f for f in catalogue.files if "img_align_celeba/" in _slashed(f.path)]
    return _listed("celeba", photos, posixpath.basename, official, {}, name)


def _cub200(catalogue: Catalogue) -> Arranged:
    """images.txt, train_test_split.txt (1 train, 0 test), image_class_labels.txt; images/."""
    images = catalogue.table("images.txt", "ID CLASS/NAME.jpg")
    split = catalogue.table("train_test_split.txt", "ID 0|1")
    labels = catalogue.table("image_class_labels.txt", "ID CLASS_ID")
    catalogue.require("images.txt", "ID CLASS/NAME.jpg", images, "0", r"\d+")
    catalogue.require("train_test_split.txt", "ID 0|1", split, "1", "[01]")
    catalogue.require("image_class_labels.txt", "ID CLASS_ID", labels, "1", r"\d+")
    merged = images.merge(split, on="0", suffixes=("", "_split")).merge(
        labels, on="0", suffixes=("", "_label")
    )
    if len(merged) != len(images):
        raise UsageError(
            f"Expected train_test_split.txt and image_class_labels.txt to name the {len(images)} "
            f"IDs of images.txt, got {len(merged)} in common. Use lists of one release."
        )
    is_train = merged["1_split"] == "1"
    official = dict(zip(merged["1"], is_train.map({True: "train", False: "val"}), strict=True))
    classes = _cub_classes(catalogue)
    names = [classes.get(number, number) for number in merged["1_label"]]
    label_of = dict(zip(merged["1"], names, strict=True))
    photos = [f for f in catalogue.files if "images/" in _slashed(f.path) and _is_jpeg(f.path)]
    return _listed("cub200", photos, _last_two, official, label_of, "images.txt")


def _cub_classes(catalogue: Catalogue) -> dict[str, str]:
    if catalogue.find_list("classes.txt") is None:
        return {}
    table = catalogue.table("classes.txt", "CLASS_ID CLASS")
    return dict(zip(table["0"], table["1"], strict=True))


def _animals10(catalogue: Catalogue) -> Arranged:
    """raw-img/<Italian name>/…; no official split."""
    entries = []
    for file in catalogue.files:
        parts = file.path.split("/")
        if "raw-img" not in parts[:-2]:
            continue
        folder = parts[parts.index("raw-img") + 1]
        if folder not in _ANIMALS:
            raise UsageError(
                f"Expected folders of {', '.join(_ANIMALS)} in raw-img, got {folder!r}. "
                'Use layout = "imagefolder" for classes of your own.'
            )
        entries.append(Entry(file, _ANIMALS[folder]))
    return _require_photos("animals10", "raw-img/cane/NAME.jpeg", entries)


def _places365(catalogue: Catalogue) -> Arranged:
    """places365_standard/{train,val}/<class>/…, or data_256/… and val_256/… with the filelists."""
    entries: list[Entry] = []
    flat_val: list[SourceFile] = []
    for file in catalogue.files:
        folders = file.path.split("/")[:-1]
        if "places365_standard" in folders:
            below = folders[folders.index("places365_standard") + 1 :]
            if len(below) >= 2 and below[0] in ("train", "val"):
                entries.append(Entry(file, "/".join(below[1:]), below[0]))
        elif named := set(folders) & _PLACES_TRAIN:
            below = folders[folders.index(named.pop()) + 1 :]
            entries.append(Entry(file, "/".join(below[1:]), "train"))
        elif "val_256" in folders:
            flat_val.append(file)
    _require_photos(
        "places365",
        "places365_standard/train/CLASS/NAME.jpg, data_256/a/CLASS/NAME.jpg or "
        "val_256/Places365_val_NNNNNNNN.jpg",
        entries + [Entry(file) for file in flat_val],
    )
    train = _places_train(catalogue, entries)
    if not flat_val:
        return train
    name, expected = "places365_val.txt", "Places365_val_NNNNNNNN.jpg CLASS_ID"
    table = catalogue.table(name, expected)
    catalogue.require(name, expected, table, "1", r"\d+")
    classes = _places_classes(catalogue)
    label_of = dict(zip(table["0"], (classes.get(n, n) for n in table["1"]), strict=True))
    official = dict.fromkeys(table["0"], "val")
    val = _listed("places365", flat_val, posixpath.basename, official, label_of, name)
    return Arranged(
        "places365",
        [*train.entries, *val.entries],
        train.problems + val.problems,
        train.num_listed_missing + val.num_listed_missing,
    )


def _places_train(catalogue: Catalogue, entries: list[Entry]) -> Arranged:
    """The train photos, those of data_256 as places365_train_standard.txt names them, if it is there."""
    name = "places365_train_standard.txt"
    of_256 = [e for e in entries if _PLACES_TRAIN & set(e.file.path.split("/"))]
    if not of_256 or catalogue.find_list(name) is None:
        return Arranged("places365", entries)
    expected = "/a/CLASS/NAME.jpg CLASS_ID"
    table = catalogue.table(name, expected)
    catalogue.require(name, expected, table, "0", "/.+/.+")
    label_of = {_below_train(entry.file.path): entry.label for entry in of_256}
    files = [entry.file for entry in of_256]
    listed = _listed(
        "places365", files, _below_train, dict.fromkeys(table["0"], "train"), label_of, name
    )
    others = (
        [entry for entry in entries if entry not in of_256] if len(of_256) < len(entries) else []
    )
    return Arranged(
        "places365", [*others, *listed.entries], listed.problems, listed.num_listed_missing
    )


def _below_train(path: str) -> str:
    """`…/data_256/a/airfield/1.jpg` → `/a/airfield/1.jpg`, as the filelist writes it."""
    parts = path.split("/")
    start = next(i for i, part in enumerate(parts) if part in _PLACES_TRAIN)
    return "/" + "/".join(parts[start + 1 :])


def _places_classes(catalogue: Catalogue) -> dict[str, str]:
    name, expected = "categories_places365.txt", "/a/CLASS CLASS_ID"
    table = catalogue.table(name, expected)
    catalogue.require(name, expected, table, "0", "/[a-z]/.+")
    return dict(zip(table["1"], table["0"].str[3:], strict=True))


def _imagefolder(catalogue: Catalogue) -> Arranged:
    """<class>/…, or {train,val,test}/<class>/…, below any one folder."""
    files = [file for file in catalogue.files if not has_text_name(file.path)]
    root = _class_root([file.path.split("/")[:-1] for file in files])
    entries = []
    for file in files:
        folders = file.path.split("/")[root:-1]
        split = _SPLIT_FOLDERS.get(folders[0].lower(), "") if folders else ""
        label = folders[1:2] if split else folders[:1]
        entries.append(Entry(file, "".join(label), split))
    return Arranged("imagefolder", entries, _nested_archives(catalogue))


def _class_root(folders: list[list[str]]) -> int:
    """How many leading folders all photos share above their classes or split folders."""
    shared = len(posixpath.commonprefix(folders)) if folders else 0
    for depth, name in enumerate(folders[0][:shared] if folders else []):
        if name.lower() in _SPLIT_FOLDERS:
            return depth
    deepest_is_class = any(len(parts) == shared for parts in folders)
    in_archive = bool(shared) and is_archive_name(folders[0][shared - 1])
    return shared - 1 if deepest_is_class and shared and not in_archive else shared


def _plain(catalogue: Catalogue) -> Arranged:
    """Photos in any arrangement: no labels, no official split. Archives in a folder are refused."""
    return Arranged("plain", Unlabelled(catalogue.files), _nested_archives(catalogue))


def _nested_archives(catalogue: Catalogue) -> list[Problem]:
    detail = "an archive inside the source is not opened; name it as a source of its own"
    archives = [file for file in catalogue.listing.files if is_archive_name(file.path)]
    others = {file.path: catalogue.said_of_archive(file.path) for file in archives}
    return [
        Problem(file.path, "NOT_A_PHOTO", others[file.path])
        if others[file.path]
        else Problem(file.path, "NESTED_ARCHIVE", detail)
        for file in archives
    ]


def _listed(
    layout: str,
    photos: list[SourceFile],
    name_of: Callable[[str], str],
    official: dict[str, str],
    label_of: dict[str, str],
    list_name: str,
) -> Arranged:
    """Entries of photos by the official list; those that it does not name are problems."""
    entries, problems, seen = [], [], set()
    for file in photos:
        name = name_of(file.path)
        if name not in official:
            problems.append(Problem(file.path, "UNLISTED", f"expected it in {list_name}"))
            continue
        seen.add(name)
        entries.append(Entry(file, label_of.get(name, ""), official[name]))
    arranged = _require_photos(layout, f"the photos that {list_name} names", entries)
    return Arranged(layout, arranged.entries, problems, len(official.keys() - seen))


def _require_photos(layout: str, expected: str, entries: list[Entry]) -> Arranged:
    if not entries:
        raise UsageError(
            f"Expected the {layout} layout ({expected}), found no such file. Check the path, or "
            f"choose another layout of {', '.join(LAYOUTS)}."
        )
    return Arranged(layout, entries)


def _slashed(path: str) -> str:
    """A path in which every folder name ends in a slash and archives count as folders."""
    return path.replace(".zip/", "/").replace(".tar/", "/")


def _last_two(path: str) -> str:
    return "/".join(path.split("/")[-2:])


def _is_jpeg(path: str) -> bool:
    return path.lower().endswith((".jpg", ".jpeg"))


def _has_split_folders(parts: set[str]) -> bool:
    return "train" in parts and bool(parts & {"val", "valid", "validation", "test"})


_LAYOUTS = {
    layout.name: layout
    for layout in (
        _Layout(
            "celeba",
            lambda parts: bool(
                parts & {"list_eval_partition.txt", "list_eval_partition.csv", "img_align_celeba"}
            ),
            _celeba,
            ("img_align_celeba.zip", "img_align_celeba.tar"),
        ),
        _Layout(
            "cub200",
            lambda parts: (
                "cub_200_2011" in parts or {"images.txt", "train_test_split.txt"} <= parts
            ),
            _cub200,
            ("CUB_200_2011.tgz", "CUB_200_2011.tar.gz"),
        ),
        _Layout("animals10", lambda parts: "raw-img" in parts, _animals10, (_KAGGLE_NAME,)),
        _Layout(
            "places365",
            lambda parts: bool(parts & {"places365_standard", "val_256", *_PLACES_TRAIN}),
            _places365,
            (
                "train_256_places365standard.tar",
                "val_256.tar",
                "places365standard_easyformat.tar",
                "filelist_places365-standard.tar",
            ),
        ),
        _Layout("imagefolder", _has_split_folders, _imagefolder),
        _Layout("plain", lambda parts: True, _plain),
    )
}
"""Name → layout, in the order of `storage.allowed.LAYOUTS`."""
