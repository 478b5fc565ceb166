"""One photo with its colours → its file, variants, sidecar, map, and what is recorded of it."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from colorization.metrics.appearance import Appearance
from storage.containers.tiff_copying import TiffPage
from storage.metadata.content_credentials import sign, signable
from storage.metadata.derivative import xmp_sidecar
from storage.metadata.descriptions import described
from storage.metadata.signing import Signing
from storage.photos.codec import Header
from storage.photos.encoding import (
    ColoredPage,
    encode,
    holds_metadata,
    is_lossless,
    output_dtype,
    output_format,
)
from storage.pictures.thumbnails import reduce_to, small_jpeg
from storage.pictures.uncertainty import uncertainty_map
from storage.records.item_record import OutputFacts
from storage.records.ledger import FileRecord, write_recorded
from storage.records.names import MAP_SUFFIX, SIDECAR_SUFFIX
from storage.records.outputs import output_suffix, variant_name, write_output
from tasks.jobs.colouring.archive_photos import Opened
from tasks.jobs.colouring.coloured_pages import Seen, derived_metadata, provenance, variant_pages
from tasks.jobs.colouring.ready import Written
from tasks.jobs.items import modified_ns
from tasks.jobs.sheet import weight_colours
from tasks.jobs.stage_items import ColorizeItem


def write_photo(
    item: ColorizeItem, opened: Opened, pages: Iterable[ColoredPage | TiffPage], seen: Seen
) -> Written:
    """Encode a photo and write it, with a sidecar where the format holds no metadata, and its map."""
    started = time.monotonic()
    row, header = opened.row, opened.first.header
    format_name = output_format(header, item.config["format"])
    suffix = output_suffix(row["path"], header.format, format_name)
    name = row["output"] + suffix
    root = Path(item.output)
    files = _write_file(item, opened, name, pages, seen)
    variants = []
    for number in range(seen.num_variants):
        other = variant_name(row["output"], number + 1) + suffix
        palette = next(page for page in seen.variants if page).variants[number].palette
        further = variant_pages(item, opened, seen, number)
        files += _write_file(item, opened, other, further, seen, palette)
        variants.append({"output": other, "palette": palette})
    if seen.maps:
        map_path = root / (row["output"] + MAP_SUFFIX)
        files.append(write_recorded(root, map_path, uncertainty_map(seen.maps)))
    if item.config["keep_times"]:
        seen.notes += _keep_times(item, row, files)
    pictures = _pictures(seen.appearance, item.config["thumbnails"]) if seen.appearance else {}
    for number in range(len(variants) if pictures else 0):
        pictures[f"v{number + 1}"] = small_jpeg(seen.small[number])
    facts = OutputFacts(
        photo=row["path"],
        sha256=row["sha256"],
        archive=item.archive,
        key=row["key"],
        offset=row["offset"],
        bytes=row["bytes"],
        output=name,
        format=format_name,
        width=header.width,
        height=header.height,
        num_pages=header.num_pages,
        bits=np.dtype(output_dtype(opened.first, format_name)).itemsize * 8,
        lossless=is_lossless(opened.first, format_name),
        label=item.config["label"],
        signed=_signing(item, header) is not None,
        said=described(opened.first.metadata),
        lost=list(dict.fromkeys(seen.lost)),
        notes=[*_missing(header), *seen.notes],
        pages=[*seen.pages, *map(_left_out, header.thumbnails)],
        range=item.config["range"],
        palette=seen.palette,
        variants=variants,
        decided=row.get("decided", ""),
        max_dL=round(seen.lightness.most, 2),
        **_measured(seen.appearance),
        seconds=round(seen.seconds + time.monotonic() - started, 3),
    )
    return Written(files, facts, pictures)


def _write_file(
    item: ColorizeItem,
    opened: Opened,
    name: str,
    pages: Iterable[ColoredPage | TiffPage],
    seen: Seen,
    variant: str = "",
) -> list[FileRecord]:
    """Encode pages into one file, signed where that is asked, with a sidecar where one is wanted.

    variant: its palette, where it is one.
    """
    header, root = opened.first.header, Path(item.output)
    format_name = output_format(header, item.config["format"])
    signing = _signing(item, header)

    def write(file: BinaryIO) -> None:
        if signing is None:
            encode(file, pages, format_name)
            return
        buffer = io.BytesIO()
        encode(buffer, pages, format_name)
        made = provenance(item, opened.row, variant or seen.palette, seen.runtime)
        file.write(sign(buffer.getvalue(), format_name, signing, made))

    files = [write_output(root, name, write)]
    if item.config["sidecar"] or not holds_metadata(format_name):
        metadata = derived_metadata(
            item, opened, opened.first, variant or seen.palette, seen.runtime
        )
        files.append(write_recorded(root, root / (name + SIDECAR_SUFFIX), xmp_sidecar(metadata)))
    return files


def _signing(item: ColorizeItem, header: Header) -> Signing | None:
    """With what a photo is signed, if at all."""
    format_name = output_format(header, item.config["format"])
    return item.config["signing"] if signable(format_name, header.num_pages) else None


def _keep_times(item: ColorizeItem, row: dict[str, Any], files: Iterable[FileRecord]) -> list[str]:
    """Give an output's files the time of their original. Returns what is to be said where there is none."""
    when = modified_ns(item, row)
    if when is None:
        return ["times: only of originals that are files by themselves; this one is in an archive"]
    for file in files:
        os.utime(Path(item.output) / file.path, ns=(when, when))
    return []


def _left_out(page: int) -> dict[str, Any]:
    detail = "a reduced picture (NewSubfileType, bit 0)"
    return {"page": page, "output": 0, "reason": "THUMBNAIL", "detail": detail}


def _missing(header: Header) -> list[str]:
    return [f"TRUNCATED: {header.cut}; coloured is what can be read"] if header.cut else []


def _measured(appearance: Appearance | None) -> dict[str, Any]:
    """For the report; empty where no pictures are made for it."""
    if appearance is None:
        return {}
    uncertainty = appearance.mean_uncertainty
    return {
        "shares": {name: round(share, 3) for name, share in appearance.shares.items()},
        "colourfulness": round(appearance.colourfulness, 2),
        "uncertainty": None if uncertainty is None else round(uncertainty, 2),
    }


def _pictures(appearance: Appearance, side: int) -> dict[str, bytes]:
    weight = reduce_to(weight_colours(appearance.weight, appearance.shares), side // 2)
    pictures = {
        "before": small_jpeg(appearance.before),
        "after": small_jpeg(appearance.after),
        "segments": small_jpeg(np.asarray(weight, np.uint8)),
    }
    if appearance.uncertainty is not None:
        levels = reduce_to(appearance.uncertainty, side // 2)
        pictures["uncertainty"] = small_jpeg(np.asarray(levels, np.uint8))
    return pictures
