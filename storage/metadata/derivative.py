"""What an original says of itself, carried over to its colorized derivative, on bytes.

EXIF (CIPA DC-008), IPTC IIM 4.2, XMP (ISO 16684-1). It is read in `storage.metadata.extraction` and written
in `storage.metadata.embedding`; no pixel is decoded or encoded.
"""

from __future__ import annotations

import struct
from dataclasses import replace

from storage.containers.parsing import Losses, part
from storage.containers.tiff_directories import ASCII, LONG, SHORT, UTF8, Value
from storage.errors import UsageError
from storage.metadata import charsets, iptc, xmp
from storage.metadata.embedding import cut_to_fit, embed, embed_tiff
from storage.metadata.exif import (
    COLOR_SPACE,
    IMAGE_DESCRIPTION,
    INTEROP_INDEX,
    ORIENTATION,
    PIXEL_X_DIMENSION,
    PIXEL_Y_DIMENSION,
    Exif,
    pack_exif,
    parse_exif,
)
from storage.metadata.extraction import Metadata, read_metadata
from storage.metadata.regions import Placement
from storage.metadata.xmp import CAPTION, Provenance

__all__ = [
    "CAPTION",
    "Metadata",
    "Placement",
    "Provenance",
    "cut_to_fit",
    "derivative",
    "embed",
    "embed_tiff",
    "read_metadata",
    "xmp_sidecar",
]

_SRGB, _ADOBE_RGB_FILE, _SRGB_FILE = 1, b"R03", b"R98\0"
"""EXIF's ColorSpace, and InteropIndex by DCF: of an option file in Adobe RGB, of a basic file."""


def derivative(
    metadata: Metadata,
    provenance: Provenance,
    *,
    placement: Placement | None = None,
    sidecar: bytes = b"",
) -> Metadata:
    """What the colorized derivative says of itself. Its profile and gamma are left to `embed`.

    EXIF, IPTC and XMP are the original's, in UTF-8, the caption suffixed with `CAPTION`; upright,
    without thumbnails and what tells of bytes that are not carried over; the XMP labelled with
    IPTC's DigitalSourceType and AI system, and the hashes. `lost` says what was left out here.
    placement: where the photo's pixels are in the derivative, upright and in sRGB; the EXIF tags of
    size and colour space, where present, and the XMP's regions then tell that.
    sidecar: an XMP file beside the photo; what it says goes before the photo's own.
    """
    losses = Losses()
    beside = losses.part("sidecar", b"", xmp.checked, sidecar)
    size = placement.size if placement else None
    return Metadata(
        exif=part(b"", _derived_exif, metadata.exif, size) if metadata.exif else b"",
        iptc=_derived_iptc(metadata.iptc),
        xmp=xmp.merge(
            xmp.joined(metadata.xmp, beside) if beside else metadata.xmp,
            provenance,
            caption=_caption(metadata),
            placement=placement,
            losses=losses,
        ),
        dpi=metadata.dpi,
        text=metadata.text,
        lost=tuple(losses),
    )


def xmp_sidecar(metadata: Metadata) -> bytes:
    """The content of an .xmp file beside a derivative (ISO 16684-1, 7.3). Raises UsageError."""
    if not metadata.xmp:
        raise UsageError("expected the metadata of a derivative, got none with XMP")
    return metadata.xmp


def _derived_exif(content: bytes, size: tuple[int, int] | None) -> bytes:
    """Upright and captioned (CIPA DC-008, tags 274 and 270), its text in UTF-8; the thumbnail is gone."""
    exif = parse_exif(content)
    if not exif:
        return b""
    exif = replace(exif, main=_texts_in_utf8(exif.main), photo=_texts_in_utf8(exif.photo))
    old = exif.main.get(IMAGE_DESCRIPTION, Value(ASCII, b""))
    kind = UTF8 if old.type == UTF8 else ASCII
    main = exif.main | {IMAGE_DESCRIPTION: Value(kind, _suffixed(old.data) + b"\0")}
    if ORIENTATION in main:
        main[ORIENTATION] = Value(SHORT, struct.pack(exif.order + "H", 1))
    exif = replace(exif, main=main)
    return pack_exif(_resized(exif, size) if size else exif)


def _texts_in_utf8(values: dict[int, Value]) -> dict[int, Value]:
    """As programs write what EXIF calls ASCII (Metadata Working Group 2.0, 2.2)."""
    return {
        tag: Value(ASCII, charsets.in_utf8(value.data)) if value.type == ASCII else value
        for tag, value in values.items()
    }


def _resized(exif: Exif, size: tuple[int, int]) -> Exif:
    """Of that width and height, and in sRGB: the tags that tell either, where present."""
    told = {
        COLOR_SPACE: Value(SHORT, struct.pack(exif.order + "H", _SRGB)),
        PIXEL_X_DIMENSION: Value(LONG, struct.pack(exif.order + "I", size[0])),
        PIXEL_Y_DIMENSION: Value(LONG, struct.pack(exif.order + "I", size[1])),
    }
    photo = {tag: told.get(tag, value) for tag, value in exif.photo.items()}
    index = exif.interop.get(INTEROP_INDEX, Value(ASCII, b""))
    is_adobe_rgb = index.data.rstrip(b"\0 ") == _ADOBE_RGB_FILE
    interop = {INTEROP_INDEX: Value(ASCII, _SRGB_FILE)} if is_adobe_rgb else {}
    return replace(exif, photo=photo, interop=exif.interop | interop)


def _derived_iptc(content: bytes) -> bytes:
    datasets = iptc.in_utf8(iptc.read_datasets(content))
    if not datasets:
        return b""
    old = iptc.find(datasets, iptc.CAPTION_DATASET)
    return iptc.pack_datasets(iptc.with_dataset(datasets, iptc.CAPTION_DATASET, _suffixed(old)))


def _caption(metadata: Metadata) -> str:
    """The caption that IPTC, EXIF or a PNG's text gives, for XMP that has none."""
    datasets = iptc.in_utf8(iptc.read_datasets(metadata.iptc))
    captions = [iptc.find(datasets, iptc.CAPTION_DATASET)]
    exif = part(None, parse_exif, metadata.exif)
    if exif and IMAGE_DESCRIPTION in exif.main:
        captions.append(exif.main[IMAGE_DESCRIPTION].data)
    texts = [charsets.decoded(caption).strip("\0 ") for caption in captions]
    texts += [text for keyword, text in metadata.text if keyword == "Description"]
    return next((text for text in texts if text), "")


def _suffixed(caption: bytes) -> bytes:
    """Latin-1 is only the way through: the suffix is ASCII, the caption's bytes stay."""
    return xmp.suffixed(caption.decode("latin-1")).encode("latin-1")
