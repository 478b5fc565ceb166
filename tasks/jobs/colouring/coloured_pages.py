"""The pages of a photo on their way: which are to be coloured, with what, and what is noted of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from chromaflow.library.colourings import made_by
from chromaflow.library.looking import Look, hint_at, kept_of, look_at
from colorization.colour.full_size import Kept, colour_strips
from colorization.colour.lab import Float
from colorization.colour.own_colour import OwnColour
from colorization.merging.hinting import Hint
from colorization.merging.inference import MergedColorizer
from colorization.merging.prediction import Asked, Prediction, Variant
from colorization.metrics.appearance import (
    Appearance,
    LightnessWatch,
    appearance_of,
    colours_of,
)
from colorization.networks.palette_choice import PaletteChoice
from storage.containers.tiff_copying import TiffPage
from storage.errors import PhotoError
from storage.metadata.derivative import Metadata, Placement, Provenance, cut_to_fit, derivative
from storage.photos.encoding import ColoredPage, check_encodable, output_dtype, output_format
from storage.photos.photo import Photo
from storage.pictures.labels import labelled_shape, with_label
from storage.pictures.thumbnails import reduce_to
from tasks.jobs.colouring.archive_photos import Opened, pages_again, unwanted
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
    runtime: str = ""
    """What computed the colours."""
    variants: list[PageVariants | None] = field(default_factory=list)
    """Of each page; None for one that is not coloured."""
    seconds: float = 0.0
    """That the networks took before the photo is written."""

    @property
    def num_variants(self) -> int:
        """How many files of further colourings there are."""
        return min((len(page.variants) for page in self.variants if page), default=0)


@dataclass(frozen=True, slots=True)
class AskedPage:
    """A page that the networks are to see."""

    photo: Photo
    look: Look | None
    asked: Asked


def ask(
    item: ColorizeItem, colorizer: MergedColorizer, opened: Opened, photo: Photo, *, first: bool
) -> AskedPage | PhotoError:
    """What the networks are asked of a page, or why it is not to be coloured.

    first: whether hints are for it. Raises PhotoError for what cannot be written.
    """
    check_encodable(photo, output_format(photo.header, item.config["format"]))
    look = look_at(photo)
    if error := unwanted(item, opened.row, photo, look):
        return error
    shape = (photo.header.height, photo.header.width)
    hints = hints_of(opened.row, shape) if first else ()
    palette = item.models.palette_of_photo(opened.row)
    return AskedPage(photo, look, colorizer.asked(photo.pixels, photo.alpha, hints, palette))


def coloured_pages(
    item: ColorizeItem, colorizer: MergedColorizer, opened: Opened, seen: Seen
) -> Iterator[ColoredPage | TiffPage]:
    """Every page of a photo with what the networks say of it; strips are computed as they are read.

    Those that are not to be coloured are copied. seen: gets what is noted. Raises PhotoError.
    """
    for number, photo in enumerate(opened.pages):
        page = ask(item, colorizer, opened, photo, first=number == 0)
        if isinstance(page, PhotoError):
            if photo.header.num_pages == 1:
                raise page
            seen.pages.append(_uncoloured(photo.header.page + 1, number + 1, page))
            if number == 0 and opened.row.get("hints"):
                seen.notes.append("hints: they are for page 1, which is not coloured")
            seen.variants.append(None)
            yield TiffPage(content=opened.content, number=photo.header.page)
            continue
        (found,) = colorizer.predict_many([page.asked])
        yield coloured_page(item, opened, page, found, seen, number)


def coloured_page(
    item: ColorizeItem,
    opened: Opened,
    page: AskedPage,
    found: Prediction,
    seen: Seen,
    number: int = 0,
) -> ColoredPage:
    """A page with its colours. number: from 0. seen: gets what is noted."""
    config, photo, look = item.config, page.photo, page.look
    if config["uncertainty"] and found.uncertainty is not None:
        seen.maps.append(found.uncertainty[0, 0].cpu().numpy())
    kept = kept_of(look, config["toning"])
    if seen.appearance is None and config["thumbnails"]:
        small = reduce_to(photo.pixels, config["thumbnails"])
        seen.appearance = appearance_of(small, found, kept)
        seen.small = [colours_of(small, variant.ab, kept) for variant in found.variants]
    seen.palette = seen.palette or found.palette
    seen.runtime = found.runtime
    seen.variants.append(PageVariants(kept, found.variants))
    derived = derived_metadata(item, opened, photo, found.palette, found.runtime)
    place = f"page {number + 1}: " if photo.header.num_pages > 1 else ""
    seen.notes += [place + note for note in _noted(photo, found, kept.own)]
    seen.notes += [place + note for note in _no_palette(item, found, page.asked.palette)]
    name = output_format(photo.header, config["format"])
    seen.lost += [*photo.metadata.lost, *derived.lost, *cut_to_fit(name, derived)]
    return _with_colours(item, photo, found.ab, kept, derived, seen.lightness)


def _with_colours(
    item: ColorizeItem,
    photo: Photo,
    ab: Tensor,
    kept: Kept,
    metadata: Metadata,
    watch: LightnessWatch,
) -> ColoredPage:
    """Its strips are computed as they are read."""
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


def variant_pages(
    item: ColorizeItem, opened: Opened, seen: Seen, number: int
) -> Iterator[ColoredPage | TiffPage]:
    """The pages of a photo's variant, from 0; those that are not coloured are as in the photo's own."""
    for photo, page in zip(pages_again(item, opened), seen.variants, strict=True):
        if page is None:
            yield TiffPage(content=opened.content, number=photo.header.page)
            continue
        variant = page.variants[number]
        derived = derived_metadata(item, opened, photo, variant.palette, seen.runtime)
        yield _with_colours(item, photo, variant.ab, page.kept, derived, seen.lightness)


def derived_metadata(
    item: ColorizeItem, opened: Opened, photo: Photo, palette: str, runtime: str
) -> Metadata:
    """What the colour of a page says of itself; the sidecar is the first page's."""
    height, width = photo.header.height, photo.header.width
    shown = labelled_shape((height, width), item.config["label"])
    placement = Placement(
        orientation=photo.header.orientation, photo=(width, height), size=(shown[1], shown[0])
    )
    sidecar = opened.sidecar if photo is opened.first else b""
    made = provenance(item, opened.row, palette, runtime)
    return derivative(photo.metadata, made, placement=placement, sidecar=sidecar)


def provenance(item: ColorizeItem, row: dict[str, Any], palette: str, runtime: str) -> Provenance:
    """What made the colours of a photo."""
    return Provenance(
        system="Chromaflow",
        version=item.config["version"],
        original_sha256=row["sha256"],
        checkpoints=item.models.hashes,
        note=made_by(palette, runtime, item.models.merge.saturation),
    )


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


def hints_of(row: Mapping[str, Any], shape: tuple[int, int]) -> tuple[Hint, ...]:
    """The photo's hints as the networks see them. shape: its height and width."""
    height, width = shape
    return tuple(hint_at(x, y, tuple(rgb), (width, height)) for x, y, *rgb in row.get("hints", ()))


def _uncoloured(page: int, output: int, why: PhotoError) -> dict[str, Any]:
    return {"page": page, "output": output, "reason": why.code, "detail": why.detail}
