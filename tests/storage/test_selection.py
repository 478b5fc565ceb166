"""Which photos stay, on which side and where: by content, seed and history, never by order."""

from __future__ import annotations

import hashlib
import random
import time
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.records.duplicates import near_twins
from storage.records.selection import Earlier, quotas, select

RNG = np.random.default_rng(5)


def row(path: str, content: str = "", **facts):
    content = content or path
    digest = hashlib.sha256(content.encode()).digest()
    likeness = hashlib.sha256(digest).hexdigest()
    return {
        "path": path,
        "sha256": digest.hex(),
        "width": 100,
        "height": 80,
        "label": "",
        "official_split": "",
        "likeness": likeness,
        "mirrored": hashlib.sha256(bytes.fromhex(likeness)).hexdigest(),
        "checked": True,
        "order": 0,
    } | facts


def choose(rows, earlier=None, **options):
    wanted = {"val_share": 0.1, "limit": 0, "max_distance": 10, "seed": 0} | options
    ordered = [row | {"order": i} for i, row in enumerate(sorted(rows, key=lambda r: r["path"]))]
    random.Random(3).shuffle(ordered)
    return select(ordered, earlier=earlier or Earlier(), **wanted)


def following(selected):
    return Earlier(rows=selected.rows, positions=selected.positions, generation=selected.generation)


def places(selected):
    return {r["path"]: (r["split"], r["position"]) for r in selected.rows}


def flip(hexadecimal: str, num_bits: int) -> str:
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(hexadecimal), np.uint8))
    bits[RNG.choice(256, num_bits, replace=False)] ^= 1
    return np.packbits(bits).tobytes().hex()


def test_a_hundred_photos_fill_positions_from_zero_in_each_split():
    selected = choose([row(f"{i:03d}") for i in range(100)])
    for split, count in Counter(r["split"] for r in selected.rows).items():
        positions = [r["position"] for r in selected.rows if r["split"] == split]
        assert positions == list(range(count)) and selected.positions[split] == count
    assert selected.generation == 1


def test_new_photos_start_at_the_next_multiple_of_256_and_the_others_stay():
    first = choose([row(f"{i:03d}") for i in range(100)])
    rows = [row(f"{i:03d}") for i in range(100)] + [row(f"000{i}new") for i in range(30)]
    second = choose(rows, following(first))
    old, new = places(first), places(second)
    assert {path: new[path] for path in old} == old
    added = {path: place for path, place in new.items() if path not in old}
    assert min(position for _, position in added.values()) == 256
    assert second.generation == 2
    assert choose(rows, following(second)).rows == second.rows


def test_a_removed_photo_leaves_a_hole_that_nothing_fills():
    first = choose([row(f"{i:03d}") for i in range(20)])
    second = choose([row(f"{i:03d}") for i in range(20) if i != 7], following(first))
    third = choose([row(f"{i:03d}") for i in range(21)], following(second))
    assert places(second) == {p: q for p, q in places(first).items() if p != "007"}
    assert third.generation == 2
    assert {p for p, (_, position) in places(third).items() if position >= 256} == {"007", "020"}


def test_a_changed_photo_takes_its_predecessors_place_whatever_its_hash_says():
    first = choose([row(f"{i:03d}") for i in range(40)])
    rows = [row(f"{i:03d}", content=f"edited {i}" if i < 10 else "") for i in range(40)]
    second = choose(rows, following(first))
    assert places(second) == places(first) and second.generation == 1


def test_a_moved_photo_keeps_its_place():
    first = choose([row(f"{i:03d}") for i in range(10)])
    second = choose(
        [row(f"{i:03d}") for i in range(1, 10)] + [row("moved", content="000")], following(first)
    )
    assert places(second)["moved"] == places(first)["000"]


def test_official_splits_are_kept_only_where_there_are_two():
    official = [row(f"{i}", official_split=s) for i, s in enumerate(["train", "val", "test"] * 4)]
    assert {r["split"] for r in choose(official).rows if r["official_split"] == "val"} == {"val"}
    only_train = choose([row(f"{i}", official_split="train") for i in range(300)])
    assert Counter(r["split"] for r in only_train.rows)["val"] > 10


def test_without_official_val_photos_train_is_divided_and_test_stays_test():
    rows = [row(f"{i}", official_split="test" if i % 4 == 0 else "train") for i in range(300)]
    selected = choose(rows)
    for r in selected.rows:
        assert (r["split"] == "test") == (r["official_split"] == "test")
    assert Counter(r["split"] for r in selected.rows)["val"] > 10
    limited = [row(f"{i}", official_split="val" if i < 10 else "train") for i in range(1000)]
    assert {
        r["split"] for r in choose(limited, limit=20).rows if r["official_split"] == "train"
    } == {"train"}


def test_photos_outside_the_official_folders_stay_where_they_are():
    rows = [row(f"{i}", official_split=s) for i, s in enumerate(["train", "val", ""] * 10)]
    first = choose(rows)
    second = choose([*rows, row("new", official_split="train")], following(first))
    assert {p: q for p, q in places(second).items() if p != "new"} == places(first)


def test_no_photo_at_all_gives_an_empty_manifest():
    assert choose([]).rows == [] == choose([row("a", checked=False)]).rows


def test_an_archive_is_one_split_with_all_its_photos():
    twins = [row("a", content="x"), row("b", content="x"), row("c")]
    selected = choose(twins, val_share=None, max_distance=-1)
    assert places(selected) == {"a": ("all", 0), "b": ("all", 1), "c": ("all", 2)}


def test_equal_bytes_stay_once():
    selected = choose([row("b", content="x"), row("a", content="x"), row("c")])
    assert {r["path"] for r in selected.rows} == {"a", "c"}
    assert [(d.path, d.code) for d in selected.dropped] == [("b", "DUPLICATE")]


@pytest.mark.parametrize("mirrored", [False, True])
def test_the_larger_of_two_near_twins_stays_mirrored_or_not(mirrored):
    small = row("small")
    looks = small["mirrored"] if mirrored else small["likeness"]
    large = row("z-large", width=200, likeness=flip(looks, 9), mirrored="00" * 32)
    selected = choose([small, large, row("other")])
    assert {r["path"] for r in selected.rows} == {"z-large", "other"}
    assert [(d.path, d.code) for d in selected.dropped] == [("small", "NEAR_DUPLICATE")]
    assert "z-large" in selected.dropped[0].detail
    assert len(choose([small, large, row("other")], max_distance=8).rows) == 3


def test_of_near_twins_the_placed_one_stays_and_then_the_validation_one():
    small = row("small")
    large = row("large", width=200, likeness=small["likeness"])
    second = choose([small, large], following(choose([small])))
    assert [r["path"] for r in second.rows] == ["small"]
    official = [row("t", official_split="train", width=300), row("other", official_split="train")]
    official.append(row("v", official_split="val", likeness=official[0]["likeness"]))
    assert {r["path"] for r in choose(official).rows} == {"v", "other"}


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32), st.integers(0, 15))
def test_near_twins_are_those_that_comparing_all_pairs_finds(seed, max_distance):
    rng = np.random.default_rng(seed)
    hashes = rng.integers(0, 256, (30, 32), np.uint8)
    for i in range(10, 30):  # neighbours of earlier ones at 0 to 24 bits
        bits = np.unpackbits(hashes[rng.integers(0, i)])
        bits[rng.choice(256, rng.integers(0, 25), replace=False)] ^= 1
        hashes[i] = np.packbits(bits)
    mirrored = np.roll(hashes, 7, axis=1)
    expected: list[int | None] = []
    for second in range(30):
        close = [
            first
            for first in range(second)
            if expected[first] is None
            and min(
                np.bitwise_count(hashes[first] ^ hashes[second]).sum(),
                np.bitwise_count(hashes[first] ^ mirrored[second]).sum(),
                np.bitwise_count(mirrored[first] ^ hashes[second]).sum(),
            )
            <= max_distance
        ]
        expected.append(close[0] if close else None)
    assert near_twins(hashes, mirrored, max_distance) == expected


def test_a_sample_depends_on_content_and_seed_only_and_keeps_proportions():
    rows = [row(f"{i}", label="cat" if i % 4 else "dog") for i in range(400)]
    renamed = [row(f"x{i}", content=f"{i}", label=r["label"]) for i, r in enumerate(rows)]
    first, second = choose(rows, limit=100), choose(renamed, limit=100)
    assert {r["sha256"] for r in first.rows} == {r["sha256"] for r in second.rows}
    assert Counter(r["label"] for r in first.rows) == {"cat": 75, "dog": 25}
    assert first.num_left_out == 300
    other = choose(rows, limit=100, seed=1)
    assert {r["sha256"] for r in first.rows} != {r["sha256"] for r in other.rows}
    more = choose(rows, limit=120)
    assert {r["sha256"] for r in first.rows} < {r["sha256"] for r in more.rows}


@given(st.dictionaries(st.text(max_size=3), st.integers(1, 500), min_size=1), st.integers(0, 3000))
def test_quotas_add_up_and_exceed_no_stratum(sizes, limit):
    shares = quotas(sizes, limit)
    total = sum(sizes.values())
    assert sum(shares.values()) == (min(limit, total) if limit else total)
    assert all(0 <= shares[s] <= sizes[s] for s in sizes)


def _seconds(hashes: np.ndarray) -> float:
    """Processor time of a comparison of all, with mirror images that look like none of them."""
    mirrored = RNG.integers(0, 256, hashes.shape, np.uint8)
    started = time.process_time()
    near_twins(hashes, mirrored, 10)
    return time.process_time() - started


def _shots(count: int, most_bits: int) -> np.ndarray:
    """uint8 (count, 32): one scene, each shot of it another in up to `most_bits` bits."""
    bits = np.repeat(RNG.integers(0, 2, (1, 256)).astype(np.uint8), count, axis=0)
    for row_of_bits in bits:
        row_of_bits[RNG.choice(256, RNG.integers(0, most_bits + 1), replace=False)] ^= 1
    return np.packbits(bits, axis=1)


@pytest.mark.parametrize("most_bits", [0, 4])
def test_photos_of_one_scene_take_no_longer_than_as_many_of_different_ones(most_bits):
    """All pairs of 1,000 equal photos took 300 times as long as 1,000 different ones."""
    different = _seconds(RNG.integers(0, 256, (1000, 32), np.uint8))
    assert _seconds(_shots(1000, most_bits)) < 30 * different


def test_the_work_grows_as_the_number_of_equal_photos():
    few, many = (min(_seconds(_shots(n, 0)) for _ in range(3)) for n in (500, 16000))
    assert many < 32 * 6 * few


def test_many_photos_without_a_picture_stay_as_comparing_all_pairs_says():
    """Pages share most of their bands: here all are compared at once, not one by one."""
    bits = (RNG.random((400, 256)) < 0.04).astype(np.uint8)
    hashes, mirrored = np.packbits(bits, axis=1), np.packbits(bits[:, ::-1], axis=1)
    expected: list[int | None] = []
    stay: list[int] = []
    for photo in range(len(bits)):
        pairs = ((hashes, hashes), (mirrored, hashes), (hashes, mirrored))
        far = [np.bitwise_count(a[stay] ^ b[photo]).sum(axis=1) for a, b in pairs]
        close = np.flatnonzero(np.min(far, axis=0) <= 10)
        expected.append(stay[close[0]] if len(close) else None)
        if not len(close):
            stay.append(photo)
    assert 10 < len(stay) < 390 and near_twins(hashes, mirrored, 10) == expected


def test_who_waits_for_many_photos_to_be_compared_sees_how_many_are():
    told: list[tuple[int, int]] = []
    choose([row(f"{i}") for i in range(5000)], report=lambda *counts: told.append(counts))
    assert told == [(4096, 5000), (5000, 5000)]
    choose([row(f"{i}") for i in range(50)], report=lambda *counts: told.append(counts))
    assert len(told) == 2
