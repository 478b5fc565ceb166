"""Bits flipped, files cut and deleted: `verify` finds all, the next run makes just those again."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import pytest
from command import chromaflow, computed, shard_hashes

pytestmark = pytest.mark.usefixtures("shared_server")
SEED = int(os.environ.get("CHROMAFLOW_FAULT_SEED", "20261124"))
UNTIL = ("--until", "preprocess")


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory, many_photos: Path) -> Path:
    """A workspace with 24 shards. Every test leaves it as it was. Returns the config."""
    config = tmp_path_factory.mktemp("damage") / "chromaflow.toml"
    config.write_text(
        f'[datasets]\nbirds = "{many_photos}"\n[preprocess]\nsize = 64\nvariants = 3\n'
    )
    computed(config, *UNTIL)
    return config


def shards(config: Path) -> list[Path]:
    return [
        config.parent / "workspace" / path for path in shard_hashes(config.parent / "workspace")
    ]


def item_of(shard: Path) -> str:
    split, _, number = shard.parts[-6:-3]
    return f"{split}-{int(number):06d}"


def flip(path: Path, rng: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def cut(path: Path, rng: random.Random) -> None:
    path.write_bytes(path.read_bytes()[: rng.randrange(path.stat().st_size)])


def delete(path: Path, rng: random.Random) -> None:
    path.unlink()


def found_damage(config: Path) -> set[tuple[str, str]]:
    code, out, _ = chromaflow("verify", "--config", config, "--json")
    rows = json.loads(out)["damaged"]
    assert code == (7 if rows else 0)
    return {(row["step"], row["item"]) for row in rows}


def damage_and_rebuild(config: Path, faults: list[tuple[Path, object]], rng: random.Random) -> int:
    """One fault a shard at once. Returns how many were found and made again, byte for byte."""
    before = shard_hashes(config.parent / "workspace")
    times = {path: path.stat().st_mtime_ns for path in shards(config)}
    for path, fault in faults:
        fault(path, rng)  # type: ignore[operator]
    expected = {("preprocess/birds", item_of(path)) for path, _ in faults}
    assert found_damage(config) == expected, f"seed {SEED}"
    steps = computed(config, *UNTIL)
    assert steps["preprocess/birds"]["computed"] == len(faults), f"seed {SEED}"
    assert shard_hashes(config.parent / "workspace") == before
    untouched = set(times) - {path for path, _ in faults}
    assert {path: path.stat().st_mtime_ns for path in untouched} == {p: times[p] for p in untouched}
    assert found_damage(config) == set()
    return len(faults)


@pytest.mark.slow
def test_damaged_shards_are_found_and_only_they_are_made_again(published: Path) -> None:
    rng = random.Random(SEED)
    paths = rng.sample(shards(published), 9)
    faults = list(zip(paths, [flip, cut, delete] * 3, strict=True))
    assert damage_and_rebuild(published, faults, rng) == 9


@pytest.mark.slow
def test_damage_to_tables_records_and_metadata_is_found_and_repaired(published: Path) -> None:
    rng = random.Random(SEED)
    folder = published.parent / "workspace/current/preprocess/birds"
    before = shard_hashes(published.parent / "workspace")
    record = sorted((folder / "done").glob("*.json"))[3]
    files = {
        folder / "rows.parquet": "rows.parquet",
        folder / "quarantine.parquet": "quarantine.parquet",
        folder / "stage.json": "stage.json",
        folder / "lab.zarr/train/zarr.json": "lab.zarr/train/zarr.json",
        record: record.stem,
    }
    for fault in (flip, cut):
        for path in files:
            fault(path, rng)
        assert found_damage(published) == {("preprocess/birds", item) for item in files.values()}
        steps = computed(published, *UNTIL)
        assert steps["preprocess/birds"]["computed"] == 1, "the shard of the damaged record"
        assert found_damage(published) == set()
    fault(folder / "_SUCCESS.json", rng)
    assert found_damage(published) == {("preprocess/birds", "_SUCCESS.json")}
    assert computed(published, *UNTIL)["preprocess/birds"]["computed"] == 0
    assert found_damage(published) == set()
    assert shard_hashes(published.parent / "workspace") == before


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_300_flips_50_cuts_and_every_shard_deleted_once(published: Path) -> None:
    rng = random.Random(SEED)
    wanted = [flip] * 300 + [cut] * 50
    rng.shuffle(wanted)
    counted = 0
    while wanted:
        paths = shards(published)
        faults = list(zip(rng.sample(paths, min(len(paths), len(wanted))), wanted, strict=False))
        del wanted[: len(faults)]
        counted += damage_and_rebuild(published, faults, rng)
    paths = shards(published)
    for part in (paths[::2], paths[1::2]):
        counted += damage_and_rebuild(published, [(path, delete) for path in part], rng)
    print(f"{counted} of {350 + len(paths)} faults found and repaired, seed {SEED}")
    assert counted == 350 + len(paths)
