"""Miniatures of the published datasets, with their own file names, lists and archives."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from storage.errors import UsageError
from storage.sources.datasets import arrange
from storage.sources.source import open_source

Files = dict[str, bytes]


def text(*lines: str) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def celeba() -> Files:
    lines = [f"{i:06d}.jpg {min(i // 4, 2)}" for i in range(1, 11)]
    photos = {f"img_align_celeba/{i:06d}.jpg": b"photo%d" % i for i in range(1, 11)}
    return photos | {"list_eval_partition.txt": text(*lines)}


def cub200() -> Files:
    names = [
        f"{c:03d}.{bird}/{bird}_{i:04d}_{i * 7}.jpg"
        for c, bird in ((1, "Black_footed_Albatross"), (2, "Laysan_Albatross"))
        for i in range(1, 6)
    ]
    root = "CUB_200_2011"
    return {f"{root}/images/{name}": name.encode() for name in names} | {
        f"{root}/images.txt": text(*(f"{i} {name}" for i, name in enumerate(names, 1))),
        f"{root}/train_test_split.txt": text(*(f"{i} {int(i % 5 != 0)}" for i in range(1, 11))),
        f"{root}/image_class_labels.txt": text(*(f"{i} {1 + (i > 5)}" for i in range(1, 11))),
        f"{root}/classes.txt": text("1 001.Black_footed_Albatross", "2 002.Laysan_Albatross"),
        f"{root}/README": b"Caltech-UCSD Birds-200-2011\n",
        "attributes.txt": text("1 has_bill_shape::curved_(up_or_down)"),
    }


def animals10() -> Files:
    names = {
        "cane": "OIP-a.jpeg",
        "gatto": "1.jpeg",
        "scoiattolo": "OIF-e2bexWrojgtQnAPPcUfOWQ.jpeg",
    }
    photos = {f"raw-img/{folder}/{name}": name.encode() for folder, name in names.items()}
    return photos | {"translate.py": b"translate = {'cane': 'dog'}\n"}


def places_tree() -> Files:
    return {
        f"places365_standard/{split}/{place}/{split}{i:08d}.jpg": f"{split}{place}{i}".encode()
        for split, count in (("train", 3), ("val", 1))
        for place in ("airfield", "zen_garden")
        for i in range(count)
    } | {"places365_standard/train.txt": text("train/airfield/00000001.jpg")}


def places_256() -> Files:
    train = ["/a/airfield/00000001.jpg 0", "/b/bow_window/indoor/00000002.jpg 1"]
    return {
        "data_256/a/airfield/00000001.jpg": b"a1",
        "data_256/b/bow_window/indoor/00000002.jpg": b"b2",
        "data_256/a/airfield/00009999.jpg": b"not in the list",
        "val_256/Places365_val_00000001.jpg": b"v1",
        "val_256/Places365_val_00000002.jpg": b"v2",
        "places365_train_standard.txt": text(*train),
        "places365_val.txt": text("Places365_val_00000001.jpg 1", "Places365_val_00000002.jpg 0"),
        "categories_places365.txt": text("/a/airfield 0", "/b/bow_window/indoor 1"),
    }


def lay(root: Path, files: Files) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def zipped(path: Path, files: Files) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def tarred(path: Path, files: Files) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz" if path.suffix == ".tgz" else "w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(f"./{name}" if "val_256" in name else name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def split_files(files: Files, prefix: str) -> tuple[Files, Files]:
    inside = {name: content for name, content in files.items() if name.startswith(prefix)}
    return inside, {name: c for name, c in files.items() if name not in inside}


def seen(
    location: Path | str, layout: str = "auto"
) -> tuple[str, set[tuple[str, str, str, bytes]]]:
    """The layout, and (name, label, split, content) of every entry."""
    source = open_source(str(location))
    arranged = arrange(source, layout)
    assert not [p for p in arranged.problems if p.code != "UNLISTED"]
    return arranged.layout, {
        (
            entry.file.path.split("/")[-1],
            entry.label,
            entry.split,
            source.read(entry.file.path, entry.file.offset, entry.file.bytes),
        )
        for entry in arranged.entries
    }


def expected_celeba() -> set[tuple[str, str, str, bytes]]:
    split = {0: "train", 1: "val", 2: "test"}
    return {(f"{i:06d}.jpg", "", split[min(i // 4, 2)], b"photo%d" % i) for i in range(1, 11)}


@pytest.mark.parametrize("form", ["folder", "zip in folder", "zip", "kaggle"])
def test_celeba(tmp_path, form):
    files = celeba()
    photos, lists = split_files(files, "img_align_celeba/")
    if form == "folder":
        location = lay(tmp_path, files)
    elif form == "kaggle":
        table = files.pop("list_eval_partition.txt").replace(b" ", b",")
        kaggle = {f"img_align_celeba/{name}": content for name, content in files.items()}
        csv = {"list_eval_partition.csv": b"image_id,partition\n" + table}
        location = zipped(tmp_path / "archive.zip", kaggle | csv)
    else:
        lay(tmp_path, lists)
        location = zipped(tmp_path / "img_align_celeba.zip", photos)
        location = tmp_path if form == "zip in folder" else location
    assert seen(location) == ("celeba", expected_celeba())


@pytest.mark.parametrize("form", ["folder", "its own folder", "tgz", "tgz in folder"])
def test_cub200(tmp_path, form):
    files = cub200()
    if "tgz" in form:
        location = tarred(tmp_path / "CUB_200_2011.tgz", files)
        location = tmp_path if "folder" in form else location
    else:
        location = lay(tmp_path, files)
        location = tmp_path / "CUB_200_2011" if form == "its own folder" else location
    layout, entries = seen(location)
    assert layout == "cub200" and len(entries) == 10
    assert {label for _, label, _, _ in entries} == {
        "001.Black_footed_Albatross",
        "002.Laysan_Albatross",
    }
    assert {name for name, _, split, _ in entries if split == "val"} == {
        "Black_footed_Albatross_0005_35.jpg",
        "Laysan_Albatross_0005_35.jpg",
    }


@pytest.mark.parametrize("form", ["folder", "zip"])
def test_animals10_in_english(tmp_path, form):
    location = (
        lay(tmp_path, animals10())
        if form == "folder"
        else zipped(tmp_path / "archive.zip", animals10())
    )
    layout, entries = seen(location)
    assert layout == "animals10"
    assert {(label, split) for _, label, split, _ in entries} == {
        ("dog", ""),
        ("cat", ""),
        ("squirrel", ""),
    }


@pytest.mark.parametrize("form", ["folder", "tar"])
def test_places365_tree(tmp_path, form):
    files = places_tree()
    location = (
        lay(tmp_path, files)
        if form == "folder"
        else tarred(tmp_path / "places365standard_easyformat.tar", files)
    )
    layout, entries = seen(location)
    assert layout == "places365" and len(entries) == 8
    assert sum(split == "val" for _, _, split, _ in entries) == 2
    assert {label for _, label, _, _ in entries} == {"airfield", "zen_garden"}


@pytest.mark.parametrize("form", ["folder", "tars in folder"])
def test_places365_256_with_its_lists(tmp_path, form):
    files = places_256()
    if form == "folder":
        lay(tmp_path, files)
    else:
        train, rest = split_files(files, "data_256/")
        val, lists = split_files(rest, "val_256/")
        tarred(tmp_path / "train_256_places365standard.tar", train)
        tarred(tmp_path / "val_256.tar", val)
        tarred(tmp_path / "filelist_places365-standard.tar", lists)
    assert seen(tmp_path) == (
        "places365",
        {
            ("00000001.jpg", "airfield", "train", b"a1"),
            ("00000002.jpg", "bow_window/indoor", "train", b"b2"),
            ("Places365_val_00000001.jpg", "bow_window/indoor", "val", b"v1"),
            ("Places365_val_00000002.jpg", "airfield", "val", b"v2"),
        },
    )


def test_imagefolder_with_split_folders_and_without(tmp_path):
    split = {"train/cat/1.jpg": b"1", "train/dog/2.jpg": b"2", "valid/cat/3.jpg": b"3"}
    assert seen(lay(tmp_path / "a", split)) == (
        "imagefolder",
        {
            ("1.jpg", "cat", "train", b"1"),
            ("2.jpg", "dog", "train", b"2"),
            ("3.jpg", "cat", "val", b"3"),
        },
    )
    labelled = {"set/cat/1.jpg": b"1", "set/dog/deep/2.jpg": b"2"}
    lay(tmp_path / "b", labelled)
    assert seen(tmp_path / "b", "imagefolder")[1] == {
        ("1.jpg", "cat", "", b"1"),
        ("2.jpg", "dog", "", b"2"),
    }
    assert seen(tmp_path / "b")[0] == "plain"


def test_imagefolder_is_not_misled_by_files_beside_the_classes(tmp_path):
    files = {
        "ds/train/cat/1.jpg": b"1",
        "ds/val/cat/2.jpg": b"2",
        "README.md": b"#",
        "LICENSE": b"x",
    }
    assert seen(lay(tmp_path / "a", files))[1] == {
        ("1.jpg", "cat", "train", b"1"),
        ("2.jpg", "cat", "val", b"2"),
    }
    one_class = zipped(tmp_path / "one.zip", {"cat/1.jpg": b"1", "cat/2.jpg": b"2"})
    assert {label for _, label, _, _ in seen(one_class, "imagefolder")[1]} == {"cat"}
    only_train = lay(tmp_path / "b", {"train/cat/1.jpg": b"1", "train/dog/2.jpg": b"2"})
    assert {(label, split) for _, label, split, _ in seen(only_train, "imagefolder")[1]} == {
        ("cat", "train"),
        ("dog", "train"),
    }


def test_a_list_beside_another_archive_does_not_decide_its_layout(tmp_path):
    lay(tmp_path, {"list_eval_partition.txt": text("000001.jpg 0")})
    assert seen(zipped(tmp_path / "archive.zip", animals10()))[0] == "animals10"


def test_places365_train_photos_that_the_list_does_not_name_are_reported(tmp_path):
    files = places_256()
    files["places365_train_standard.txt"] += b"/a/airfield/00000005.jpg 0\n"
    renamed = {name.replace("data_256/", "data_256_standard/"): c for name, c in files.items()}
    for number, form in enumerate((files, renamed)):
        arranged = arrange(open_source(str(lay(tmp_path / str(number), form))))
        assert len(arranged.entries) == 4 and arranged.num_listed_missing == 1
        assert [(p.path[-12:], p.code) for p in arranged.problems] == [("00009999.jpg", "UNLISTED")]


def test_a_plain_folder_names_the_archives_that_it_does_not_open(tmp_path):
    zipped(tmp_path / "more.zip", {"2.jpg": b"2"})
    lay(tmp_path, {"1.jpg": b"1"})
    arranged = arrange(open_source(str(tmp_path)))
    assert [entry.file.path for entry in arranged.entries] == ["1.jpg"]
    assert [(p.path, p.code) for p in arranged.problems] == [("more.zip", "NESTED_ARCHIVE")]


WRONG = {
    ("celeba", "list_eval_partition.txt"): ("NNNNNN.jpg 0|1|2", text("000001.jpg 3")),
    ("cub200", "images.txt"): ("ID CLASS/NAME.jpg", text("x 001.A/b.jpg")),
    ("cub200", "train_test_split.txt"): ("ID 0|1", text("1 2")),
    ("cub200", "image_class_labels.txt"): ("ID CLASS_ID", text("1 1", "2")),
    ("places365", "places365_val.txt"): ("Places365_val_NNNNNNNN.jpg CLASS_ID", text("a b")),
    ("places365", "categories_places365.txt"): ("/a/CLASS CLASS_ID", text("airfield 0")),
}
MINIATURES = {"celeba": celeba, "cub200": cub200, "places365": places_256}


@pytest.mark.parametrize(("layout", "name"), WRONG)
@pytest.mark.parametrize("fault", ["missing", "wrong", "empty", "one word", "more words"])
def test_a_list_that_is_missing_or_wrong_names_itself_and_its_lines(tmp_path, layout, name, fault):
    form, wrong = WRONG[layout, name]
    files = MINIATURES[layout]()
    path = next(path for path in files if path.split("/")[-1] == name)
    if fault == "missing":
        del files[path]
    else:
        first = files[path].splitlines()[0].decode()
        files[path] = {
            "wrong": wrong,
            "empty": b"",
            "one word": text("word"),
            "more words": text(first, f"{first} {first} {first}"),
        }[fault]
    with pytest.raises(UsageError) as caught:
        arrange(open_source(str(lay(tmp_path, files))), layout)
    assert name in str(caught.value) and form in str(caught.value)
    assert caught.value.exit_code == 2


def test_photos_and_lists_that_do_not_match_are_counted_not_lost(tmp_path):
    files = celeba()
    files["img_align_celeba/000999.jpg"] = b"extra"
    del files["img_align_celeba/000003.jpg"]
    arranged = arrange(open_source(str(lay(tmp_path, files))))
    assert len(arranged.entries) == 9 and arranged.num_listed_missing == 1
    assert [(p.path, p.code) for p in arranged.problems] == [
        ("img_align_celeba/000999.jpg", "UNLISTED")
    ]


@pytest.mark.parametrize("layout", ["celeba", "cub200", "animals10", "places365"])
def test_a_layout_that_is_not_there_is_a_usage_error(tmp_path, layout):
    files = {"1.jpg": b"1", "list_eval_partition.txt": text("000001.jpg 0")}
    with pytest.raises(UsageError, match="Expected"):
        arrange(open_source(str(lay(tmp_path, files))), layout)


def test_an_unknown_folder_of_animals10_and_an_unknown_layout_name_the_known_ones(tmp_path):
    lay(tmp_path, {"raw-img/cane/1.jpeg": b"1", "raw-img/drago/2.jpeg": b"2"})
    with pytest.raises(UsageError, match="scoiattolo.*drago"):
        arrange(open_source(str(tmp_path)))
    with pytest.raises(UsageError, match="imagefolder"):
        arrange(open_source(str(tmp_path)), "coco")
