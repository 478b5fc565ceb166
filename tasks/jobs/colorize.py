"""One chunk of an archive: decode → tone → L at full size → colours → encode as the original was."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from colorization.colour.full_size import Kept, colour_strips
from colorization.colour.lab import Float, rgb_to_lab
from colorization.colour.own_colour import OwnColour
from colorization.merging.hinting import Hint
from colorization.merging.inference import MergedColorizer
from colorization.merging.prediction import Prediction, Variant
from colorization.metrics.appearance import (
    Appearance,
    LightnessWatch,
    appearance_of,
    colours_of,
)
from colorization.networks.palette_choice import PaletteChoice
from storage.containers.tiff_copying import TiffPage
from storage.errors import PhotoError
from storage.metadata.content_credentials import sign, signable
from storage.metadata.derivative import (
    Metadata,
    Placement,
    Provenance,
    cut_to_fit,
    derivative,
    xmp_sidecar,
)
from storage.metadata.descriptions import described
from storage.metadata.signing import Signing
from storage.photos.codec import Header
from storage.photos.encoding import (
    ColoredPage,
    check_encodable,
    encode,
    holds_metadata,
    is_lossless,
    output_dtype,
    output_format,
)
from storage.photos.photo import Photo
from storage.pictures.labels import labelled_shape, with_label
from storage.pictures.thumbnails import reduce_to, small_jpeg
from storage.pictures.uncertainty import uncertainty_map
from storage.records.item_record import OutputFacts
from storage.records.ledger import FileRecord, write_recorded
from storage.records.manifest import Quarantined
from storage.records.names import MAP_SUFFIX, SIDECAR_SUFFIX
from storage.records.outputs import output_suffix, variant_name, write_output
from tasks.jobs.archive_photos import Opened, look_at, open_ahead, pages_again, unwanted
from tasks.jobs.items import ItemResult, modified_ns, quarantine_into
from tasks.jobs.models import load_merged
from tasks.jobs.ready import Written, commit_chunk, rows_left
from tasks.jobs.sheet import weight_colours
from tasks.jobs.stage_items import ColorizeItem


@dataclass(frozen=True, slots=True)
class PageVariants:
    """Further colourings of a page."""

    kept: Kept
    variants: tuple[Variant, ...]


@dataclass(slots=True)
class Seen:
    """What is noted of a photo on its way."""

    maps: list[Float] = field(default_factory=list)
    """The uncertainty of each page, where it is wanted."""
    appearance: Appearance | None = None
    """Of the first page that is coloured."""
    small: list[NDArray[np.uint8]] = field(default_factory=list)
    """Its variants, as small as in `appearance`."""
    lightness: LightnessWatch = field(default_factory=LightnessWatch)
    lost: list[str] = field(default_factory=list)
    """Metadata that could not be read, or has no place in the output."""
    notes: list[str] = field(default_factory=list)
    """What else people should know."""
    pages: list[dict[str, Any]] = field(default_factory=list)
    """Those that are not coloured, as of `OutputFacts`."""
    palette: str = ""
    """The code of the first page's that follows one."""
    variants: list[PageVariants | None] = field(default_factory=list)
    """Of each page; None for one that is not coloured."""
    seconds: float = 0.0
    """That the networks took before the photo is written."""

    @property
    def num_variants(self) -> int:
        """How many files of further colourings there are."""
        return min((len(page.variants) for page in self.variants if page), default=0)


def colorize_chunk(item: ColorizeItem) -> ItemResult:
    """Colour every photo of the chunk; each ends as one output file or one quarantine row.

    Photos that are coloured already are taken over as they are.

    While the networks see a photo, the next one is decoded, and the one before gets its colours and
    is encoded.
    """
    colorizer = load_merged(item.models)
    quarantined: list[Quarantined] = []
    written: dict[str, Written] = {}
    pending: list[tuple[str, Future[Written]]] = []

    def collect() -> None:
        for path, future in pending:
            with quarantine_into(quarantined, path, "colorize"):
                written[path] = future.result()
        pending.clear()

    with ThreadPoolExecutor(1) as writer:
        for row, opening in open_ahead(item, rows_left(item)):
            with quarantine_into(quarantined, row["path"], "colorize"):
                opened = opening.result()
                seen = Seen()
                looked = _pages(item, colorizer, opened, seen)
                if opened.alone:
                    collect()
                    written[row["path"]] = _write(item, opened, looked, seen)
                    continue
                started = time.monotonic()
                pages = list(looked)
                seen.seconds = time.monotonic() - started
                collect()
                pending.append((row["path"], writer.submit(_write, item, opened, pages, seen)))
        collect()
    return commit_chunk(item, written, quarantined)


def _pages(
    item: ColorizeItem, colorizer: MergedColorizer, opened: Opened, seen: Seen
) -> Iterator[ColoredPage | TiffPage]:
    """Every page of a photo with what the networks say of it; strips are computed as they are read.

    Of several pages those that are not to be coloured are copied. seen: gets what is noted. Hints are
    for the first page.
    """
    config = item.config
    asked = item.models.palette_of_photo(opened.row)
    for number, photo in enumerate(opened.pages):
        name = output_format(photo.header, config["format"])
        check_encodable(photo, name)
        shape = (photo.header.height, photo.header.width)
        hints = _hints(opened.row, shape) if number == 0 else ()
        look = look_at(photo)
        if error := unwanted(item, opened.row, photo, look):
            if photo.header.num_pages == 1:
                raise error
            seen.pages.append(_uncoloured(photo.header.page + 1, number + 1, error))
            seen.notes += ["hints: they are for page 1, which is not coloured"] if hints else []
            seen.variants.append(None)
            yield TiffPage(content=opened.content, number=photo.header.page)
            continue
        found = colorizer.look(photo.pixels, alpha=photo.alpha, hints=hints, palette=asked)
        if config["uncertainty"] and found.uncertainty is not None:
            seen.maps.append(found.uncertainty[0, 0].cpu().numpy())
        own = look.own_colour() if look and config["toning"] != "replace" else None
        kept = Kept(toning=config["toning"] == "keep", own=own)
        if seen.appearance is None and config["thumbnails"]:
            small = reduce_to(photo.pixels, config["thumbnails"])
            seen.appearance = appearance_of(small, found, kept)
            seen.small = [colours_of(small, variant.ab, kept) for variant in found.variants]
        seen.palette = seen.palette or found.palette
        seen.variants.append(PageVariants(kept, found.variants))
        derived = _derived(item, opened, photo, found.palette)
        place = f"page {number + 1}: " if photo.header.num_pages > 1 else ""
        seen.notes += [place + note for note in _noted(photo, found, own)]
        seen.notes += [place + note for note in _no_palette(item, found, asked)]
        seen.lost += [*photo.metadata.lost, *derived.lost, *cut_to_fit(name, derived)]
        yield _coloured(item, photo, found.ab, kept, derived, seen.lightness)


def _coloured(
    item: ColorizeItem,
    photo: Photo,
    ab: Tensor,
    kept: Kept,
    metadata: Metadata,
    watch: LightnessWatch,
) -> ColoredPage:
    """A page with these colours; its strips are computed as they are read."""
    name, label = output_format(photo.header, item.config["format"]), item.config["label"]
    shape = (photo.header.height, photo.header.width)
    strips = watch.passing(
        photo.pixels, colour_strips(photo.pixels, ab, output_dtype(photo, name), kept)
    )
    return ColoredPage(
        photo=photo,
        strips=with_label(strips, shape, label) if label else strips,
        shape=labelled_shape(shape, label),
        metadata=metadata,
    )


def _variant_pages(
    item: ColorizeItem, opened: Opened, seen: Seen, number: int
) -> Iterator[ColoredPage | TiffPage]:
    """The pages of a photo's variant, from 0; those that are not coloured are as in the photo's own."""
    for photo, page in zip(pages_again(item, opened), seen.variants, strict=True):
        if page is None:
            yield TiffPage(content=opened.content, number=photo.header.page)
            continue
        variant = page.variants[number]
        derived = _derived(item, opened, photo, variant.palette)
        yield _coloured(item, photo, variant.ab, page.kept, derived, seen.lightness)


def _no_palette(
    item: ColorizeItem, found: Prediction, asked: PaletteChoice | None
) -> Iterator[str]:
    """What was asked of palettes and no expert of the photo could give."""
    models = item.models
    wanted = asked is not None or models.palette != PaletteChoice() or models.palette_from
    if (wanted and not found.palette) or len(found.variants) < models.variants:
        yield "palette: its experts follow none, so it has the mean colours and no variants"


def _noted(photo: Photo, found: Prediction, own: OwnColour | None) -> Iterator[str]:
    """What people should know of a page."""
    if photo.note:
        yield photo.note
    if found.blank:
        yield "BLANK: nothing is to be seen, so no colour is invented"
    if own:
        yield (
            f"real colour in {100 * own.share:.1f}% of its area is kept; "
            "--toning replace colours that as well"
        )


def _hints(row: dict[str, Any], shape: tuple[int, int]) -> tuple[Hint, ...]:
    """The photo's hints as the networks see them. shape: its height and width."""
    height, width = shape
    hints = []
    for x, y, *rgb in row.get("hints", ()):
        a, b = rgb_to_lab(np.array([[rgb]], np.uint8))[1:, 0, 0].tolist()
        hints.append(Hint(across=(x + 0.5) / width, down=(y + 0.5) / height, ab=(a, b)))
    return tuple(hints)


def _write(
    item: ColorizeItem, opened: Opened, pages: Iterable[ColoredPage | TiffPage], seen: Seen
) -> Written:
    """Encode a photo and write it, with a sidecar where the format holds no metadata, and its map."""
    started = time.monotonic()
    row, header = opened.row, opened.first.header
    format_name = output_format(header, item.config["format"])
    suffix = output_suffix(row["path"], header.format, format_name)
    name = row["output"] + suffix
    root = Path(item.output)
    files = _write_photo(item, opened, name, pages, seen.palette)
    variants = []
    for number in range(seen.num_variants):
        other = variant_name(row["output"], number + 1) + suffix
        palette = next(page for page in seen.variants if page).variants[number].palette
        further = _variant_pages(item, opened, seen, number)
        files += _write_photo(item, opened, other, further, palette)
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
        max_dL=round(seen.lightness.most, 2),
        **_measured(seen.appearance),
        seconds=round(seen.seconds + time.monotonic() - started, 3),
    )
    return Written(files, facts, pictures)


def _write_photo(
    item: ColorizeItem,
    opened: Opened,
    name: str,
    pages: Iterable[ColoredPage | TiffPage],
    palette: str,
) -> list[FileRecord]:
    """Encode pages into one file, signed where that is asked, with a sidecar where one is wanted."""
    header, root = opened.first.header, Path(item.output)
    format_name = output_format(header, item.config["format"])
    signing = _signing(item, header)

    def write(file: BinaryIO) -> None:
        if signing is None:
            encode(file, pages, format_name)
            return
        buffer = io.BytesIO()
        encode(buffer, pages, format_name)
        provenance = _provenance(item, opened.row, palette)
        file.write(sign(buffer.getvalue(), format_name, signing, provenance))

    files = [write_output(root, name, write)]
    if item.config["sidecar"] or not holds_metadata(format_name):
        metadata = _derived(item, opened, opened.first, palette)
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


def _uncoloured(page: int, output: int, why: PhotoError) -> dict[str, Any]:
    return {"page": page, "output": output, "reason": why.code, "detail": why.detail}


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
    weight = reduce_to(weight_colours(appearance.weight), side // 2)
    pictures = {
        "before": small_jpeg(appearance.before),
        "after": small_jpeg(appearance.after),
        "segments": small_jpeg(np.asarray(weight, np.uint8)),
    }
    if appearance.uncertainty is not None:
        levels = reduce_to(appearance.uncertainty, side // 2)
        pictures["uncertainty"] = small_jpeg(np.asarray(levels, np.uint8))
    return pictures


def _derived(item: ColorizeItem, opened: Opened, photo: Photo, palette: str) -> Metadata:
    """What the colour of a page says of itself; the sidecar is the first page's."""
    height, width = photo.header.height, photo.header.width
    shown = labelled_shape((height, width), item.config["label"])
    placement = Placement(
        orientation=photo.header.orientation, photo=(width, height), size=(shown[1], shown[0])
    )
    sidecar = opened.sidecar if photo is opened.first else b""
    provenance = _provenance(item, opened.row, palette)
    return derivative(photo.metadata, provenance, placement=placement, sidecar=sidecar)


def _provenance(item: ColorizeItem, row: dict[str, Any], palette: str) -> Provenance:
    return Provenance(
        system="Chromaflow",
        version=item.config["version"],
        original_sha256=row["sha256"],
        checkpoints=item.models.hashes,
        note=f"palette {palette}" if palette else "",
    )
