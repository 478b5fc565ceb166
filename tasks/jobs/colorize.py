"""One chunk of an archive: decode → tone → L at full size → colours → encode as the original was."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from colorization.inference import MergedColorizer
from storage.content_credentials import sign, signable
from storage.encoding import (
    ColoredPage,
    check_encodable,
    encode,
    holds_metadata,
    is_lossless,
    output_dtype,
    output_format,
)
from storage.labels import labelled_shape, with_label
from storage.ledger import FileRecord, write_recorded
from storage.manifest import Quarantined
from storage.metadata import Provenance, derivative, xmp_sidecar
from storage.outputs import SIDECAR_SUFFIX, output_suffix, write_output
from tasks.jobs.archive_photos import Opened, check_wanted, open_ahead
from tasks.jobs.items import ItemResult, commit_item, quarantine_into
from tasks.jobs.models import load_merged
from tasks.jobs.stage_items import ColorizeItem


@dataclass(frozen=True, slots=True)
class Written:
    """What one photo became."""

    files: list[FileRecord]
    facts: dict[str, Any]
    """For the record, and for `chromaflow verify`."""


def colorize_chunk(item: ColorizeItem) -> ItemResult:
    """Colour every photo of the chunk; each ends as one output file or one quarantine row.

    While the networks see a photo, the next one is decoded, and the one before gets its colours and
    is encoded.
    """
    colorizer = load_merged(item.models)
    quarantined: list[Quarantined] = []
    written: list[Written] = []
    pending: list[tuple[str, Future[Written]]] = []

    def collect() -> None:
        for path, future in pending:
            with quarantine_into(quarantined, path, "colorize"):
                written.append(future.result())
        pending.clear()

    with ThreadPoolExecutor(1) as writer:
        for row, opening in open_ahead(item):
            with quarantine_into(quarantined, row["path"], "colorize"):
                opened = opening.result()
                if opened.alone:
                    collect()
                    written.append(_write(item, opened, _pages(item, colorizer, opened)))
                    continue
                pages = list(_pages(item, colorizer, opened))
                collect()
                pending.append((row["path"], writer.submit(_write, item, opened, pages)))
        collect()
    return commit_item(
        item,
        files=[file for one in written for file in one.files],
        num_photos=len(item.photos),
        quarantined=quarantined,
        outputs=[one.facts for one in written],
    )


def _pages(item: ColorizeItem, colorizer: MergedColorizer, opened: Opened) -> Iterator[ColoredPage]:
    """Every page of a photo with what the networks say of it; strips are computed as they are read."""
    config = item.config
    for photo in opened.pages:
        name = output_format(photo.header, config["format"])
        check_encodable(photo, name)
        check_wanted(photo, config["accept"])
        strips = colorizer.colorize(
            photo.pixels,
            output_dtype(photo, name),
            alpha=photo.alpha,
            keep_toning=config["toning"] == "keep",
        )
        shape = (photo.header.height, photo.header.width)
        yield ColoredPage(
            photo=photo,
            strips=with_label(strips, shape, config["label"]) if config["label"] else strips,
            shape=labelled_shape(shape, config["label"]),
            metadata=derivative(
                photo.metadata,
                _provenance(item, opened.row),
                size=labelled_shape(shape, config["label"])[::-1],
            ),
        )


def _write(item: ColorizeItem, opened: Opened, pages: Iterable[ColoredPage]) -> Written:
    """Encode a photo and write it, with a sidecar where the format holds no metadata."""
    row, header = opened.row, opened.first.header
    format_name = output_format(header, item.config["format"])
    name = row["output"] + output_suffix(row["path"], header.format, format_name)
    root = Path(item.output)
    signing = item.config["signing"] if signable(format_name, header.num_pages) else None

    def write(file: BinaryIO) -> None:
        if signing is None:
            encode(file, pages, format_name)
            return
        buffer = io.BytesIO()
        encode(buffer, pages, format_name)
        file.write(sign(buffer.getvalue(), format_name, signing, _provenance(item, row)))

    files = [write_output(root, name, write)]
    if item.config["sidecar"] or not holds_metadata(format_name):
        metadata = derivative(opened.first.metadata, _provenance(item, row))
        files.append(write_recorded(root, root / (name + SIDECAR_SUFFIX), xmp_sidecar(metadata)))
    facts = {
        "photo": row["path"],
        "sha256": row["sha256"],
        "offset": row["offset"],
        "bytes": row["bytes"],
        "output": name,
        "format": format_name,
        "width": header.width,
        "height": header.height,
        "num_pages": header.num_pages,
        "bits": np.dtype(output_dtype(opened.first, format_name)).itemsize * 8,
        "lossless": is_lossless(opened.first, format_name),
        "label": item.config["label"],
        "signed": signing is not None,
    }
    return Written(files, facts)


def _provenance(item: ColorizeItem, row: dict[str, Any]) -> Provenance:
    return Provenance(
        system="Chromaflow",
        version=item.config["version"],
        original_sha256=row["sha256"],
        checkpoints=item.models.hashes,
    )
