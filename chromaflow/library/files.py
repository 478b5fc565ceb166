"""Photos that are files: decoded apart, coloured page by page, written as `chromaflow colorize` does."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from torch import Tensor

from chromaflow.library.colourings import Page, made_by, without_colour
from chromaflow.library.models import Files, weight_hashes
from colorization.colour.full_size import colour_strips
from storage.containers.tiff_copying import TiffPage
from storage.errors import PhotoError, UsageError
from storage.metadata.derivative import Metadata, Placement, Provenance, derivative, xmp_sidecar
from storage.photos.decoder import shared_decoder
from storage.photos.encoding import (
    ColoredPage,
    check_encodable,
    encode,
    holds_metadata,
    output_dtype,
    output_format,
)
from storage.photos.photo import Photo
from storage.records.fingerprint import hash_bytes
from storage.records.ledger import write_bytes
from storage.records.names import SIDECAR_SUFFIX
from storage.records.outputs import output_suffix, usual_name, write_output

_log = logging.getLogger("chromaflow")


@dataclass(frozen=True, slots=True)
class Coloured:
    """What the networks say of a page."""

    ab: Tensor
    palette: str
    runtime: str


def read_pages(path: Path) -> tuple[bytes, Iterator[Photo]]:
    """A file's bytes and its pages. Raises UsageError where it cannot be read, PhotoError."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"Expected a photo that can be read at {path}, got: {error.strerror}."
        ) from error
    return content, shared_decoder().pages(content)


def _target(
    path: Path, photo: Photo, format_name: str, output: Path | None, overwrite: bool
) -> Path:
    """Where the colour of a file goes: as the command names it, beside the original.

    output: a file or folder instead. Raises UsageError for a file that is there, unless it may be
    overwritten, and for the photo itself.
    """
    name = usual_name(path.name) + output_suffix(path.name, photo.header.format, format_name)
    if output is None:
        target = path.with_name(name)
    else:
        target = output / name if output.is_dir() else output
    suffix = output_suffix(target.name, format_name, format_name)
    if target.suffix.lower() != suffix.lower():
        raise UsageError(
            f"Expected an output that ends in {suffix} for {path}, as its colour is written in the "
            f"original's format; got {target}."
        )
    if target.exists() and target.samefile(path):
        raise UsageError(f"Expected another output than the photo itself, got {target}.")
    if target.exists() and not overwrite:
        raise UsageError(
            f"Expected no file at {target}, found one. Name another output, or say overwrite=True."
        )
    return target


def write_coloured(
    path: Path,
    output: Path | None,
    overwrite: bool,
    files: Files,
    page_of: Callable[[Photo, bool], Page],
    colours_of: Callable[[Page], Coloured],
) -> Path:
    """Colour a file and write it, with what the original says of itself and what coloured it.

    output: a file or folder; None for beside the photo. page_of: of a photo and whether it is the first.
    Pages that are not to be coloured are copied where another one is. Returns where it is. Raises
    PhotoError where no page is to be coloured, UsageError, OutputError.
    """
    content, pages = read_pages(path)
    first = next(pages)
    format_name = output_format(first.header)
    target = _target(path, first, format_name, output, overwrite)
    check_encodable(first, format_name)
    made = _Maker(format_name, hash_bytes(content), weight_hashes(files), page_of, colours_of)
    every: Iterator[Photo] = chain([first], pages)
    if first.header.num_pages > 1:
        every = _some_colourable(made, content, every)

    def write(file: BinaryIO) -> None:
        encode(file, (made.page(content, photo, n) for n, photo in enumerate(every)), format_name)

    write_output(target.parent, target.name, write)
    if not holds_metadata(format_name):
        assert made.metadata is not None
        beside = target.with_name(target.name + SIDECAR_SUFFIX)
        write_bytes(beside, xmp_sidecar(made.metadata))
    return target


def _some_colourable(made: _Maker, content: bytes, pages: Iterator[Photo]) -> Iterator[Photo]:
    """The pages once more. Raises what speaks against the first one where it speaks against all."""
    refused = [made.refused(photo) for photo in pages]
    if refused[0] is not None and all(refused):
        raise refused[0]
    return shared_decoder().pages(content)


@dataclass(slots=True)
class _Maker:
    """Makes the pages of one output."""

    format_name: str
    sha256: str
    hashes: tuple[tuple[str, str], ...]
    page_of: Callable[[Photo, bool], Page]
    colours_of: Callable[[Page], Coloured]
    metadata: Metadata | None = None
    """Of the first page."""

    def refused(self, photo: Photo) -> PhotoError | None:
        try:
            self.page_of(photo, False)
        except PhotoError as why:
            if without_colour(why):
                return why
            raise
        return None

    def page(self, content: bytes, photo: Photo, number: int) -> ColoredPage | TiffPage:
        header = photo.header
        try:
            page = self.page_of(photo, number == 0)
        except PhotoError as why:
            if header.num_pages > 1 and without_colour(why):
                return TiffPage(content=content, number=header.page)
            raise
        found = self.colours_of(page)
        size = (header.width, header.height)
        metadata = derivative(
            photo.metadata,
            self._provenance(found),
            placement=Placement(orientation=header.orientation, photo=size, size=size),
        )
        for lost in (*photo.metadata.lost, *metadata.lost):
            _log.warning("not carried over: %s", lost)
        self.metadata = self.metadata or metadata
        dtype = output_dtype(photo, self.format_name)
        return ColoredPage(
            photo=photo,
            strips=colour_strips(photo.pixels, found.ab, dtype, page.kept),
            shape=(header.height, header.width),
            metadata=metadata,
        )

    def _provenance(self, found: Coloured) -> Provenance:
        return Provenance(
            system="Chromaflow",
            version=version("chromaflow"),
            original_sha256=self.sha256,
            checkpoints=self.hashes,
            note=made_by(found.palette, found.runtime),
        )
