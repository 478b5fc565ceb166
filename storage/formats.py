"""The picture formats: how each is recognised, what is read of it and what is written for it.

docs/formats.md is this table; `chromaflow formats` prints it.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from importlib.util import find_spec

from storage.camera_raw import camera_raw
from storage.containers.parsing import part
from storage.containers.segments import iso_boxes, jpeg_frame
from storage.containers.tiff_directories import TiffReader
from storage.errors import REASONS, PhotoError


@dataclass(frozen=True, kw_only=True, slots=True)
class Format:
    """One format."""

    name: str
    """In Pillow's words."""
    suffixes: tuple[str, ...]
    signatures: tuple[bytes, ...]
    reads: str
    """Which of its pictures can be read, for people."""
    output: str
    """Name of the format that its colour goes to; its own where one can write it without loss of
    depth or lightness."""
    writes: str
    """How, for people."""
    package: str = ""
    """Of Python, that reading needs beside what is always installed."""
    keeps: tuple[str, ...] = ()
    """What it says of itself that the output says too: ICC (applied: outputs are sRGB), EXIF, IPTC, XMP."""
    pages: str = "one"
    """What becomes of more than one picture in it."""
    lost: str = ""
    """What it may hold besides that is not carried over."""


_ALL = ("ICC", "EXIF", "IPTC", "XMP")
_FORMATS = (
    Format(
        name="JPEG",
        suffixes=(".jpg", ".jpeg", ".jpe", ".jfif"),
        signatures=(b"\xff\xd8\xff",),
        reads="8 bit gray, RGB, CMYK; baseline and progressive (at most 256 scans)",
        output="JPEG",
        writes="quality 95 or the original's where that is higher, 4:4:4",
        keeps=_ALL,
        pages="one; a second view, a film or a map behind it is named as lost",
        lost="further XMP segments, trailers, thumbnails",
    ),
    Format(
        name="PNG",
        suffixes=(".png", ".apng"),
        signatures=(b"\x89PNG\r\n\x1a\n",),
        reads="1 to 16 bit gray, RGB, palette, alpha, interlaced; animated: first frame, on request",
        output="PNG",
        writes="8 or 16 bit as the original",
        keeps=_ALL,
        pages="animated: skipped, or its first frame (`--accept ANIMATED`)",
    ),
    Format(
        name="TIFF",
        suffixes=(".tif", ".tiff", ".btf"),
        signatures=(b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+"),
        reads="1 to 16 bit gray, either polarity, RGB, palette, CMYK, YCbCr, Lab, alpha; 8 to "
        "16 bit with or without a declared range, float and 32 bit with one; strips, tiles, planes, BigTIFF, all pages but thumbnails; none, PackBits, "
        "LZW, Deflate, JPEG, fax, ZSTD, LERC, LZMA, JPEG 2000, JPEG XL",
        output="TIFF",
        writes="8 or 16 bit as the original (over 16: 16), Deflate; every page in its order, "
        "those that are bilevel, colour, mask or infrared as they are; "
        "BigTIFF over 4 GB",
        keeps=_ALL,
        pages="each by itself: gray coloured, bilevel, colour and masks copied in their place, thumbnails left out",
        lost="tags that are neither EXIF, IPTC nor XMP; pictures below a page (SubIFDs)",
    ),
    Format(
        name="WEBP",
        suffixes=(".webp",),
        signatures=(b"RIFF",),
        reads="lossy, lossless, alpha; animated: first frame, on request",
        output="WEBP",
        writes="lossless where the original is, else quality 95",
        keeps=("ICC", "EXIF", "XMP"),
        pages="animated: skipped, or its first frame",
    ),
    Format(
        name="BMP",
        suffixes=(".bmp", ".dib"),
        signatures=(b"BM",),
        reads="1 to 8 bit palette, 16, 24 and 32 bit",
        output="BMP",
        writes="24 bit (with alpha: as PNG); it holds no metadata, so an XMP sidecar lies beside it",
        keeps=("ICC",),
    ),
    Format(
        name="GIF",
        suffixes=(".gif",),
        signatures=(b"GIF87a", b"GIF89a"),
        reads="one frame; animated: first frame, on request",
        output="PNG",
        writes="as PNG: 256 colours cannot keep lightness",
        keeps=("XMP",),
        pages="animated: skipped, or its first frame",
        lost="ICC profile",
    ),
    Format(
        name="PPM",
        suffixes=(".pgm", ".ppm", ".pbm", ".pnm"),
        signatures=tuple(
            b"P%d" % n + white for n in range(1, 7) for white in (b"\n", b" ", b"\r", b"\t", b"#")
        ),
        reads="P1 to P6, 1 to 16 bit",
        output="PPM",
        writes="P6, 8 or 16 bit; it holds no metadata, so an XMP sidecar lies beside it",
        pages="the first",
        lost="comments",
    ),
    Format(
        name="JPEG2000",
        suffixes=(".jp2", ".j2k", ".jpx", ".jpf", ".j2c", ".jpc"),
        signatures=(b"\x00\x00\x00\x0cjP  ", b"\xff\x4f\xff\x51"),
        reads="8 to 16 bit gray, RGB, alpha",
        output="JPEG2000",
        writes="lossless, 8 or 16 bit; an XMP sidecar lies beside it",
        keeps=_ALL,
    ),
    Format(
        name="JXL",
        suffixes=(".jxl",),
        signatures=(b"\xff\x0a", b"\x00\x00\x00\x0cJXL "),
        reads="8 to 16 bit gray, RGB, alpha; one frame",
        output="JXL",
        writes="lossless, 8 or 16 bit; an XMP sidecar lies beside it",
        keeps=("EXIF", "XMP"),
        lost="ICC profile, boxes packed by Brotli",
    ),
    Format(
        name="AVIF",
        suffixes=(".avif",),
        signatures=(),
        reads="8 bit gray, RGB, alpha; one frame",
        output="PNG",
        writes="as PNG",
        keeps=("ICC", "EXIF", "XMP"),
        pages="animated: skipped, or its first frame",
    ),
    Format(
        name="HEIF",
        suffixes=(".heic", ".heif"),
        signatures=(),
        reads="the primary picture, 8 bit",
        output="PNG",
        writes="as PNG: no free encoder comes with pi-heif",
        package="pi-heif",
        keeps=("ICC", "EXIF", "XMP"),
        pages="the primary one",
        lost="pictures beside it, depth and gain maps",
    ),
    Format(
        name="JPEGLS",
        suffixes=(".jls",),
        signatures=(),
        reads="JPEG-LS, 2 to 16 bit gray, RGB",
        output="PNG",
        writes="as PNG, 8 or 16 bit",
        keeps=_ALL,
    ),
    Format(
        name="LJPEG",
        suffixes=(".ljpg", ".ljpeg"),
        signatures=(),
        reads="lossless JPEG (Huffman), 2 to 16 bit gray, RGB",
        output="PNG",
        writes="as PNG, 8 or 16 bit",
        keeps=_ALL,
    ),
    Format(
        name="JPEG12",
        suffixes=(),
        signatures=(),
        reads="JPEG of 12 bit, gray, RGB",
        output="PNG",
        writes="as 16 bit PNG",
        keeps=_ALL,
        lost="trailers, thumbnails",
    ),
    Format(
        name="DNG",
        suffixes=(".dng",),
        signatures=(),
        reads="raw pictures, developed with the camera's white balance",
        output="TIFF",
        writes="as 16 bit TIFF",
        package="rawpy",
        keeps=("EXIF", "IPTC", "XMP"),
        pages="the raw picture",
        lost="previews, what cameras note for their own programs",
    ),
    Format(
        name="RAW",
        suffixes=(
            *(".nef", ".nrw", ".cr2", ".cr3", ".crw", ".arw", ".sr2", ".srf", ".raf", ".rw2"),
            *(".orf", ".pef", ".dcr", ".kdc", ".mrw", ".x3f", ".3fr", ".iiq", ".mos", ".mef"),
            *(".erf", ".srw", ".rwl"),
        ),
        signatures=(),
        reads="raw pictures of other cameras that LibRaw knows, developed like DNG; never their previews",
        output="TIFF",
        writes="as 16 bit TIFF",
        package="rawpy",
        keeps=("EXIF", "IPTC", "XMP"),
        pages="the raw picture",
        lost="previews; all of it in files that are no TIFF (CR3, CRW, RAF, RW2, ORF, MRW, X3F)",
    ),
)
FORMATS = {format.name: format for format in _FORMATS}
OUTPUT_FORMATS = ("jpeg", "png", "tiff", "webp")
"""What `--format` allows beside the original's own."""
SPELLINGS = {"jpg": "jpeg", "tif": "tiff"}
"""Other names of these."""


def spelt(name: str) -> str:
    """The name in OUTPUT_FORMATS of a format that may be spelt another way."""
    return SPELLINGS.get(name, name)


_JPEG_KINDS = {0xC3: "LJPEG", 0xF7: "JPEGLS"}
"""By the marker of the frame (ITU-T T.81, table B.1; T.87); the rest is plain or of 12 bit."""
_STRANGE_JPEGS = {
    **dict.fromkeys((0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF), "hierarchical JPEG"),
    0xCB: "lossless JPEG with arithmetic coding",
}
_DNG_VERSION = 50706
"""A tag of TIFF directories."""
_OTHER_PICTURES = {
    b"8BPS": "Photoshop",
    b"DDS ": "DDS",
    b"qoif": "QOI",
    b"\x01\xda": "SGI",
    b"%!PS": "EPS",
    b"%PDF": "PDF",
    b"Pf\n": "PFM",
    b"PF\n": "PFM",
    b"P7\n": "PAM",
    b"v/1\x01": "OpenEXR",
    b"#?RADIANCE": "Radiance HDR",
    b"\xd7\xcd\xc6\x9a": "WMF",
    b"icns": "ICNS",
    b"\x00\x00\x01\x00": "ICO",
}


def sniff(content: bytes) -> str:
    """The format by content. Raises PhotoError EMPTY, NOT_A_PHOTO or UNSUPPORTED_FORMAT."""
    if not content:
        raise PhotoError("EMPTY", "expected a photo, got 0 bytes")
    name = "RAW" if camera_raw(content) else _by_signature(content) or _by_brand(content)
    if name is not None:
        return name
    other = next((o for start, o in _OTHER_PICTURES.items() if content.startswith(start)), None)
    if other is not None or content[4:8] == b"ftyp":
        known = ", ".join(FORMATS)
        raise PhotoError(
            "UNSUPPORTED_FORMAT",
            f"expected one of {known}, got {other or 'another ISO media file'}",
        )
    raise PhotoError(
        "NOT_A_PHOTO", f"expected a photo's signature, got bytes {content[:8].hex(' ')}"
    )


def require_codec(name: str, content: bytes = b"") -> None:
    """Raise PhotoError CODEC_MISSING, with the command that installs it, where it is missing.

    content: the file, to say of which camera it is.
    """
    package = FORMATS[name].package
    if package and find_spec(package.replace("-", "_")) is None:
        kind = f" for camera raw ({camera_raw(content)})" if name == "RAW" else ""
        raise PhotoError(
            "CODEC_MISSING", f"expected the package {package}{kind}: pip install {package}"
        )


def formats_page() -> str:
    """docs/formats.md: the formats, and the reasons for which a photo is not coloured."""
    lines = [
        "# Formats",
        "",
        "Made by `chromaflow formats --markdown` from `storage/formats.py`. Content decides, never the name.",
        "",
        "| format | names | read | written | needs |",
        "|---|---|---|---|---|",
    ]
    for format in _FORMATS:
        names = " ".join(f"`{suffix}`" for suffix in format.suffixes)
        needs = f"`pip install {format.package}`" if format.package else ""
        lines.append(f"| {format.name} | {names} | {format.reads} | {format.writes} | {needs} |")
    lines += [
        "",
        "## What is read and kept",
        "",
        "Depth, alpha and orientation are kept by all that have them; pixels come upright and in sRGB. What "
        "an output's format has no place for goes into an XMP file beside it. Profiles, EXIF, IPTC, XMP and "
        "pages that are lost are named in the photo's record, in photos.parquet (`lost`, `notes`) and in "
        "the report.",
        "",
        "| format | colour goes to | ICC | EXIF | IPTC | XMP | pages and frames | not carried over |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for format in _FORMATS:
        marks = " | ".join("kept" if part in format.keeps else "" for part in _ALL)
        lines.append(
            f"| {format.name} | {format.output} | {marks} | {format.pages} | {format.lost} |"
        )
    lines += [
        "",
        "## Reason codes",
        "",
        "`chromaflow explain CODE` says the same. A skipped photo fails no run; any other one makes it "
        "end with exit 6.",
        "",
        "| code | meaning | what to do | |",
        "|---|---|---|---|",
    ]
    for reason in REASONS.values():
        kind = "skipped" if reason.policy else ""
        lines.append(f"| {reason.code} | {reason.meaning} | {reason.remedy} | {kind} |")
    return "\n".join(lines) + "\n"


def _by_signature(content: bytes) -> str | None:
    if content[:4] == b"RIFF":
        return "WEBP" if content[8:12] == b"WEBP" else None
    for format in _FORMATS:
        if content.startswith(format.signatures):
            if format.name == "JPEG":
                return _jpeg_kind(content)
            is_dng = format.name == "TIFF" and part(False, _is_dng, content)
            return "DNG" if is_dng else format.name
    return None


def _jpeg_kind(content: bytes) -> str:
    frame = jpeg_frame(content)
    if frame is None:
        return "JPEG"
    if frame.kind in _STRANGE_JPEGS:
        raise PhotoError(
            "UNSUPPORTED_FORMAT",
            f"expected a JPEG of another kind, got {_STRANGE_JPEGS[frame.kind]}",
        )
    return _JPEG_KINDS.get(frame.kind, "JPEG12" if frame.bits == 12 else "JPEG")


def _by_brand(content: bytes) -> str | None:
    """Of the ISO base media formats (ISO/IEC 14496-12, 4.3) those that hold a still."""
    if content[4:8] != b"ftyp":
        return None
    _, start, end = next(iso_boxes(content), (b"", 8, 12))
    others = range(start + 8, min(end, start + 504), 4)  # after the minor version
    brands = {content[start : start + 4], *(content[i : i + 4] for i in others)}
    if brands & {b"avif", b"avis"}:
        return "AVIF"
    return "HEIF" if brands & {b"heic", b"heix", b"hevc", b"mif1", b"msf1", b"heim"} else None


def _is_dng(content: bytes) -> bool:
    """Whether the first directory of a TIFF, not a BigTIFF, holds DNGVersion."""
    reader = TiffReader(io.BytesIO(content))
    first = next(reader.pages(), 0)
    return not reader.layout.big and bool(first) and _DNG_VERSION in reader.entries(first)
