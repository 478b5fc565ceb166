"""Items of an earlier folder that are what this one needs: taken over, not computed again.

A step's fingerprint changes with its upstream, but most of its items may not: ten new photos leave
the shards of 2,000 others as they are (docs/decisions/005).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from storage.records import ledger
from storage.records.decisions import DECISIONS
from storage.records.fingerprint import hash_file, hash_value
from storage.records.item_record import read_item
from tasks.config.hints import HINTS
from tasks.engine.stages import Step
from tasks.engine.verification import read_success
from tasks.jobs.stage_items import TRUTH

_OF_ALL = (HINTS, DECISIONS, TRUTH)
"""Files that say something of many photos: an item counts what they say of its own."""
_STAGES_OF_ALL = ("ingest/", "series/")
"""Steps that do."""


def upstream_of_items(upstream: Mapping[str, str]) -> dict[str, str]:
    """Digests by label of the steps before, without those that say something of many photos."""
    return {n: d for n, d in upstream.items() if not n.startswith(_STAGES_OF_ALL)}


def item_key(step: Step, parts: Mapping[str, Any], identity: Any) -> str:
    """A hash of all that decides one item's output.

    parts: of the step's fingerprint. identity: what the item is made of, its photos by content, their
    hints, palettes and colour originals among it; so what ingest, series and these files say of all photos
    does not count.
    """
    upstream = upstream_of_items(parts["upstream"])
    inputs = {name: digest for name, digest in parts["inputs"].items() if name not in _OF_ALL}
    own = {**parts, "upstream": upstream, "inputs": inputs}
    return hash_value([step.stage, own, identity])


def adopt(
    earlier: Path,
    folder: Path,
    root: Path | None,
    keys: Mapping[str, str],
    again: Callable[[str], bool],
    hash_of: Callable[[Path], str] = hash_file,
) -> set[str]:
    """Take over whole items of an earlier, published folder.

    root: where the items' files lie, if not in the step's own folder; such files stay in place.
    keys: of the items wanted, by name. again: whether an item that holds a photo with this reason
    code is computed all the same. hash_of: how a file's SHA-256 is found. Returns the names that are
    now done.
    """
    wanted = {key: name for name, key in keys.items()}
    published = read_success(earlier)
    adopted = set()
    for item, digest in published.items.items() if published is not None else ():
        path = ledger.record_path(earlier, item)
        record = read_item(path)
        name = wanted.get(record.key) if record else None
        if record is None or name is None or hash_of(path) != digest:
            continue
        if any(again(row.code) for row in record.quarantined):
            continue
        files, extras = record.files, record.extras
        if any(ledger.damage(root or earlier, file, hash_of) for file in files):
            continue
        if any(ledger.damage(earlier, file, hash_of) for file in extras):
            continue
        for file in [*([] if root else files), *extras]:
            # in the place of what is there: a published file is never written to again
            ledger.link_or_copy(earlier / file.path, folder / file.path, over=True)
        ledger.write_json(ledger.record_path(folder, name), record.to_dict())
        adopted.add(name)
    return adopted
