"""Ledger, manifest, fingerprint, checkpoints: what is written is whole, and damage is seen."""

from __future__ import annotations

import errno
import hashlib
import importlib
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from storage.errors import DamagedError, OutputError
from storage.records.checkpoints import (
    Checkpoint,
    check_whole,
    load_checkpoint,
    save_checkpoint,
    save_checkpoints,
)
from storage.records.fingerprint import (
    ValueHash,
    hash_contents,
    hash_file,
    hash_list,
    hash_module,
    hash_value,
)
from storage.records.ledger import (
    atomic_path,
    damage,
    link_or_copy,
    read_json,
    record_file,
    remove_partials,
    write_bytes,
    write_json,
)
from storage.records.manifest import MANIFEST_COLUMNS, split_of
from storage.records.tables import (
    TEXT,
    WHOLE,
    RowTable,
    each_row,
    read_rows,
    read_table,
    write_table,
)
from storage.visible import unescaped


def test_an_error_while_writing_leaves_the_old_file_and_nothing_else(tmp_path):
    write_bytes(tmp_path / "a.bin", b"old")
    with pytest.raises(RuntimeError), atomic_path(tmp_path / "a.bin") as temporary:
        temporary.write_bytes(b"half of the new")
        raise RuntimeError
    assert [p.name for p in tmp_path.iterdir()] == ["a.bin"]
    assert (tmp_path / "a.bin").read_bytes() == b"old"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_write_permission_is_an_output_error(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="Free or repair the disk"):
        write_bytes(tmp_path / "a.bin", b"x")
    tmp_path.chmod(0o700)


def test_a_full_disk_is_an_output_error(tmp_path):
    with (
        pytest.raises(OutputError, match="No space left"),
        Path("/dev/full").open("wb", 0) as full,
        atomic_path(tmp_path / "a.bin"),
    ):
        full.write(b"x")


def test_damage_finds_missing_longer_and_changed_files(tmp_path):
    write_bytes(tmp_path / "sub" / "a.bin", b"content")
    record = record_file(tmp_path, tmp_path / "sub" / "a.bin")
    assert record.sha256 == hashlib.sha256(b"content").hexdigest()
    assert damage(tmp_path, record) is None
    (tmp_path / "sub" / "a.bin").write_bytes(b"contenT")
    assert damage(tmp_path, record) == "sub/a.bin has changed"
    (tmp_path / "sub" / "a.bin").write_bytes(b"content and more")
    assert damage(tmp_path, record) == "sub/a.bin has changed"
    (tmp_path / "sub" / "a.bin").unlink()
    assert damage(tmp_path, record) == "sub/a.bin is missing"


@pytest.mark.parametrize("content", [b"", b'{"a": 1', b"\xff\xfe\x00", b"[1, 2]", b"\x00" * 50])
def test_garbage_instead_of_a_json_object_reads_as_none(tmp_path, content):
    (tmp_path / "r.json").write_bytes(content)
    assert read_json(tmp_path / "r.json") is None


def test_json_round_trips_and_a_missing_file_reads_as_none(tmp_path):
    write_json(tmp_path / "r.json", {"ü": [1, None]})
    assert read_json(tmp_path / "r.json") == {"ü": [1, None]}
    assert read_json(tmp_path / "none.json") is None
    assert read_json(tmp_path / "r.json" / "below.json") is None


def test_partials_of_a_killed_writer_are_removed_at_any_depth(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / ".0123456789abcdef.partial").write_bytes(b"x")
    (tmp_path / "a" / "kept.txt").write_bytes(b"x")
    remove_partials(tmp_path)
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["kept.txt"]


def test_partials_of_steps_that_are_under_way_in_a_workspace_within_stay(tmp_path):
    half_made = ".0123456789abcdef.partial"
    for folder in (tmp_path / "a", tmp_path / ".chromaflow" / "stages"):
        folder.mkdir(parents=True)
        (folder / half_made).write_bytes(b"x")
    remove_partials(tmp_path, but=tmp_path / ".chromaflow")
    kept = [path.parent.name for path in tmp_path.rglob(half_made)]
    assert kept == ["stages"]


def test_the_split_has_its_share_and_never_changes_when_the_share_grows():
    hashes = [hashlib.sha256(str(i).encode()).hexdigest() for i in range(5000)]
    tenth = {h for h in hashes if split_of(h, 0.1) == "val"}
    fifth = {h for h in hashes if split_of(h, 0.2) == "val"}
    assert 430 < len(tenth) < 570
    assert tenth < fifth
    assert split_of("f" * 64, 1.0) == "val" and split_of("0" * 64, 0.0) == "train"


def test_a_manifest_comes_back_row_for_row(tmp_path):
    values = ["ä/1.jpg", "ab" * 32, 5_000_000_000, -1, 640, 480, "L", "JPEG", 6]
    values += ["cat", "train", 3, 1]
    row = dict(zip(MANIFEST_COLUMNS, values, strict=True))
    write_table(tmp_path / "m.parquet", [row | {"extra": 1}], MANIFEST_COLUMNS)
    assert read_rows(tmp_path / "m.parquet") == [row]
    write_table(tmp_path / "empty.parquet", [], MANIFEST_COLUMNS)
    assert read_rows(tmp_path / "empty.parquet") == []


def test_a_long_table_is_written_and_read_in_parts(tmp_path):
    count = 10_000
    written = []

    def rows():
        for number in range(count):
            written.append(number)
            yield {"path": f"é/{number}.jpg", "bytes": number}

    columns = {"path": TEXT, "bytes": WHOLE}
    write_table(tmp_path / "t.parquet", rows(), columns)
    table = RowTable(tmp_path / "t.parquet")
    assert len(table) == len(written) == count and table.num_groups > 1
    assert [row["bytes"] for row in each_row(tmp_path / "t.parquet")] == written
    for start, stop in ((0, 0), (0, 3), (4090, 4100), (9998, 20_000), (10_000, 10_001)):
        assert [row["bytes"] for row in table.rows(start, stop)] == written[start:stop]
    assert next(table.each("path")) == {"path": "é/0.jpg"}
    assert table.column("bytes").tolist() == written


def test_hashes_of_what_comes_in_parts_are_those_of_the_whole():
    values = [["é", 1], {"b": None, "a": [1.5]}, "x"]
    assert hash_list(iter(values)) == hash_value(values)
    assert hash_list([]) == hash_value([]) and hash_list(["x"]) == hash_value(["x"])
    contents = {"000000": ["ab"], "000000-1": ["cd", "ef"], "000001": []}
    assert hash_contents(iter(contents.items()), "rest") == hash_value([contents, "rest"])
    assert hash_contents([], None) == hash_value([{}, None])
    assert ValueHash(values, 2).of("y", None) == hash_value([values, 2, "y", None])
    assert ValueHash(values).of() == hash_value([values])


@pytest.mark.parametrize(
    "name",
    [
        "a.png",
        "é \\x41 \\xg.png",
        os.fsdecode(b"latin \xe9\\xe9\\x5c.png"),
        os.fsdecode("é\\".encode() + b"\xff/\xe9"),
        "\\xe9 \\x5c \\x5cxe9",
    ],
)
def test_a_name_in_any_encoding_comes_back_from_a_table_of_utf_8(tmp_path, name):
    write_table(tmp_path / "t.parquet", [{"path": name}, {"path": None}], {"path": TEXT})
    assert read_rows(tmp_path / "t.parquet") == [{"path": name}, {"path": None}]
    stored = read_table(tmp_path / "t.parquet")["path"][0]
    assert stored.encode() and unescaped(stored) == name
    assert stored == name or "\\x" in stored


def test_values_have_one_hash_whatever_their_key_order():
    expected = hashlib.sha256(b'{"a":[1,2],"b":null}').hexdigest()
    assert hash_value({"b": None, "a": [1, 2]}) == hash_value({"a": [1, 2], "b": None}) == expected


def test_file_hash_crosses_block_borders(tmp_path):
    content = os.urandom((1 << 20) + 17)
    (tmp_path / "big").write_bytes(content)
    assert hash_file(tmp_path / "big") == hashlib.sha256(content).hexdigest()


def test_a_module_hash_changes_with_code_and_not_with_comments_or_layout(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / "a_module_to_hash.py"

    def hashed(text: str) -> str:
        path.write_text(text)
        importlib.invalidate_caches()
        hash_module.cache_clear()
        return hash_module("a_module_to_hash")

    first = hashed("def f(x):\n    return x + 1\n")
    assert hashed("# why\ndef f( x ):\n\n    return (x + 1)  # because\n") == first
    assert hashed("def f(x):\n    return x + 2\n") != first
    assert "a_module_to_hash" not in sys.modules
    hash_module.cache_clear()
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        hash_module("no_such_module")


def tensors() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "conv.weight": rng.normal(size=(8, 3, 3, 3)).astype(np.float32),
        "bn.num_batches_tracked": np.array(1234, np.int64),
    }


@pytest.mark.parametrize("half", [False, True])
def test_weights_come_back_as_float32_with_shape_and_metadata(tmp_path, half):
    path = tmp_path / "weights.safetensors"
    save_checkpoint(path, tensors(), {"network": "unet18", "hashes": ["a"]}, half=half)
    loaded = load_checkpoint(path)
    weight = tensors()["conv.weight"]
    expected = weight.astype(np.float16).astype(np.float32) if half else weight
    np.testing.assert_array_equal(loaded.tensors["conv.weight"], expected)
    assert loaded.tensors["conv.weight"].dtype == np.float32
    assert loaded.tensors["bn.num_batches_tracked"].shape == ()
    assert loaded.tensors["bn.num_batches_tracked"] == 1234
    assert loaded.metadata == {"version": 1, "network": "unet18", "hashes": ["a"]}
    assert path.stat().st_size < 432 + 1000 if half else path.stat().st_size > 864


@pytest.mark.parametrize("kept", [0, 4, 60, -1])
def test_weights_cut_short_are_damaged(tmp_path, kept):
    path = tmp_path / "weights.safetensors"
    save_checkpoint(path, tensors(), {}, half=True)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DamagedError, match="Expected whole safetensors weights"):
        load_checkpoint(path)
    with pytest.raises(DamagedError, match="cut short"):
        check_whole(path)


def test_whole_weights_are_whole(tmp_path):
    save_checkpoint(tmp_path / "weights.safetensors", tensors(), {}, half=True)
    check_whole(tmp_path / "weights.safetensors")


def test_missing_or_foreign_weights_are_damaged(tmp_path):
    (tmp_path / "w.safetensors").write_text(json.dumps({"not": "weights"}))
    for load, path in (
        (load_checkpoint, tmp_path / "w.safetensors"),
        (load_checkpoint, tmp_path / "none"),
        (check_whole, tmp_path / "w.safetensors"),
    ):
        with pytest.raises(DamagedError):
            load(path)


def test_what_checkpoints_share_lies_in_one_file(tmp_path):
    encoder = np.arange(5000, dtype=np.float32)
    files = {
        f"{name}.safetensors": Checkpoint(
            {"encoder": encoder, "head": np.full(3, number, np.float32)}, {"category": name}
        )
        for number, name in enumerate(("birds", "people"))
    }
    save_checkpoints(tmp_path, files, shared="shared.safetensors", half=False)
    for name, checkpoint in files.items():
        assert (tmp_path / name).stat().st_size < 2000 < encoder.nbytes
        loaded = load_checkpoint(tmp_path / name)
        assert loaded.metadata["category"] == checkpoint.metadata["category"]
        assert loaded.tensors.keys() == checkpoint.tensors.keys()
        for key, value in checkpoint.tensors.items():
            np.testing.assert_array_equal(loaded.tensors[key], value)


@pytest.mark.parametrize("harm", ["missing", "another"])
def test_a_checkpoint_without_what_it_shares_is_refused(harm, tmp_path):
    files = {"a.safetensors": Checkpoint(tensors(), {}), "b.safetensors": Checkpoint(tensors(), {})}
    save_checkpoints(tmp_path, files, shared="shared.safetensors", half=True)
    if harm == "missing":
        (tmp_path / "shared.safetensors").unlink()
    else:
        save_checkpoint(tmp_path / "shared.safetensors", {"w": np.zeros(2)}, {}, half=False)
    with pytest.raises(DamagedError, match="shared.safetensors beside a.safetensors"):
        load_checkpoint(tmp_path / "a.safetensors")


@pytest.mark.parametrize("code", [errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP])
def test_where_a_disk_has_no_hard_links_a_file_is_copied(tmp_path, monkeypatch, code):
    def refuse(source, target):
        raise OSError(code, os.strerror(code), str(source))

    (tmp_path / "a").write_bytes(b"content")
    link_or_copy(tmp_path / "a", tmp_path / "linked")
    assert (tmp_path / "linked").samefile(tmp_path / "a")
    monkeypatch.setattr(os, "link", refuse)
    link_or_copy(tmp_path / "a", tmp_path / "new" / "copy")
    copy = tmp_path / "new" / "copy"
    assert copy.read_bytes() == b"content" and not copy.samefile(tmp_path / "a")
    with pytest.raises(FileExistsError):
        link_or_copy(tmp_path / "a", copy)
    assert [path.name for path in copy.parent.iterdir()] == ["copy"]
