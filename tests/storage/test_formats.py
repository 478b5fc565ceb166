"""Every row of the format table on its way through: decoded as another reader does, coloured, written.

The files are made here; their pixels are known from the arrays they were made of, or from a reader
that the product does not use for that format.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import imagecodecs
import numpy as np
import pi_heif
import pytest
import tifffile
from conftest import with_masks
from PIL import Image, ImageCms, ImageOps, ImageSequence, IptcImagePlugin
from starter import starter_models

from colorization.colour.lab import linear_to_srgb
from colorization.colour.lightness import compare_lightness
from storage.containers.tiff_copying import TiffPage, copy_page
from storage.containers.tiff_directories import Layout, TiffWriter
from storage.errors import PhotoError
from storage.formats import sniff
from storage.metadata.derivative import CAPTION
from storage.photos.photo import decode, decode_pages, inspect
from storage.photos.samples import sample
from storage.pictures.labels import label_box, labelled_shape
from storage.records.item_record import OutputFacts
from tasks.config.model import ColorizeConfig
from tasks.jobs.colorize import colorize_chunk
from tasks.jobs.stage_items import ColorizeItem

ROOT = Path(__file__).parents[2]
PICKED = ROOT.parent / "shared/data/hostile/valid/picked"
HEIGHT, WIDTH = 40, 56
ACCEPT = ("BILEVEL", "ANIMATED", "ALREADY_COLOR")
DPI = {"dpi": (300, 300)}
IPTC = b"\x1c\x02\x78\0\x06Market"
"""Its caption (IIM 4.2, 2:120)."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One file: what decoding must give, and what its output must be."""

    path: str
    content: bytes
    pages: tuple[np.ndarray, ...] = ()
    """Pixels of each page, upright."""
    alpha: np.ndarray | None = None
    most: int = 0
    """Code values by which a lossy format's readers may differ."""
    output: str = ""
    """Format and suffix of the output where they are not the file's own."""
    bits: int = 8
    """Of the output's samples; 0 where each page has its own."""
    lossy: bool = False
    code: str = ""
    """Why it is not coloured: those of ACCEPT only unless accepted."""


def gray(dtype: Any = np.uint8, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """A slope with a fine texture, over all code values."""
    top = np.iinfo(dtype).max
    y, x = np.mgrid[0:height, 0:width]
    wave = 0.5 + 0.5 * np.sin(x / 5 + y / 9)
    return np.rint(top * (0.8 * wave + 0.2 * y / (height - 1))).astype(dtype)


def colourful(height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    hue = np.linspace(0, 179, width).astype(np.uint8)[None].repeat(height, 0)
    hsv = np.dstack([hue, np.full_like(hue, 200), gray(np.uint8, height, width)])
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)


def three(pixels: np.ndarray) -> np.ndarray:
    return np.dstack([pixels] * 3)


def saved(pixels: Any, name: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(buffer, name, **options)
    return buffer.getvalue()


def tiff(*pages: np.ndarray, options: tuple[dict[str, Any], ...] = (), **common: Any) -> bytes:
    buffer = io.BytesIO()
    own = {key: common.pop(key) for key in ("bigtiff", "byteorder") if key in common}
    with tifffile.TiffWriter(buffer, **own) as writer:
        for page, more in zip(pages, options or ({},) * len(pages), strict=True):
            writer.write(page, metadata=None, contiguous=False, **common, **more)
    return buffer.getvalue()


def by_pillow(content: bytes, mode: str = "") -> np.ndarray:
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image.convert(mode) if mode else image)


def by_opencv(content: bytes) -> np.ndarray:
    """As stored, channels in the order RGB."""
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    return pixels[..., [2, 1, 0, 3][: pixels.shape[2]]] if pixels.ndim == 3 else pixels


def tagged(orientation: int = 1) -> Image.Exif:
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "Kodak", orientation
    exif.get_ifd(0x8769)[0x9003] = "1931:05:04 10:11:12"
    exif.get_ifd(0x8825)[1], exif.get_ifd(0x8825)[2] = "N", (48.0, 12.0, 30.0)
    return exif


def png(samples: bytes, depth: int, colour: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG written by hand. samples: rows packed, without filter bytes."""
    row = len(samples) // HEIGHT
    lines = b"".join(b"\0" + samples[i * row : (i + 1) * row] for i in range(HEIGHT))
    return png_file(bytes([depth, colour, 0, 0, 0]), lines, *chunks)


def interlaced_png(pixels: np.ndarray) -> bytes:
    """Adam7 (ISO/IEC 15948, 8.2)."""
    steps = ((0, 8, 0, 8), (0, 8, 4, 8), (4, 8, 0, 4), (0, 4, 2, 4), (2, 4, 0, 2), (0, 2, 1, 2))
    passes = [pixels[y::down, x::across] for y, down, x, across in (*steps, (1, 2, 0, 1))]
    lines = b"".join(b"\0" + line.tobytes() for one in passes for line in one)
    return png_file(bytes([8, 0, 0, 0, 1]), lines)


def png_file(form: bytes, lines: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    size = struct.pack(">II", WIDTH, HEIGHT)
    parts = [(b"IHDR", size + form), *chunks, (b"IDAT", zlib.compress(lines)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in parts
    )


def packed(levels: np.ndarray, bits: int) -> bytes:
    """Samples of 1, 2, 4 or 12 bits, each row from a whole byte on."""
    digits = (levels[..., None].astype(np.uint32) >> np.arange(bits - 1, -1, -1)) & 1
    return np.packbits(digits.reshape(len(levels), -1).astype(np.uint8), axis=1).tobytes()


def with_gamma(pixels: np.ndarray, gamma: float) -> np.ndarray:
    """16-bit sRGB of code values that follow a power curve."""
    linear = (pixels / np.iinfo(pixels.dtype).max) ** gamma
    return np.rint(linear_to_srgb(linear) * 65535).astype(np.uint16)


def jpegs() -> Iterator[Row]:
    eight = gray()
    for name, options in {
        "gray": {"exif": tagged(), **DPI},
        "progressive": {"progressive": True},
        "best": {"quality": 100},
    }.items():
        content = saved(eight, "JPEG", **options)
        if name == "gray":
            resource = b"Photoshop 3.0\x008BIM\x04\x04\0\0" + struct.pack(">I", len(IPTC)) + IPTC
            segment = b"\xff\xed" + struct.pack(">H", 2 + len(resource) + len(IPTC) % 2)
            content = content[:2] + segment + resource + bytes(len(IPTC) % 2) + content[2:]
        yield Row(path=f"{name}.jpg", content=content, pages=(by_pillow(content),), lossy=True)
    for name, options in {"rgb": {}, "rgb444": {"subsampling": 0, "progressive": True}}.items():
        content = saved(three(eight), "JPEG", **options)
        yield Row(path=f"{name}.jpeg", content=content, pages=(by_pillow(content),), lossy=True)
    for turn in (3, 6, 8):
        content = saved(eight, "JPEG", exif=tagged(turn))
        shown = np.rot90(by_pillow(content), {3: 2, 6: 3, 8: 1}[turn])
        yield Row(path=f"turned{turn}.jpg", content=content, pages=(shown,), lossy=True)
    inks = np.dstack([np.zeros((HEIGHT, WIDTH, 3), np.uint8), 255 - eight])
    content = saved(Image.fromarray(inks, "CMYK"), "JPEG", quality=95)
    adobe = imagecodecs.jpeg8_decode(content, outcolorspace="CMYK").astype(float)  # inverted inks
    shown = np.rint(adobe[..., :3] * adobe[..., 3:] / 255).astype(np.uint8)
    yield Row(path="cmyk.jpg", content=content, pages=(shown,), most=1, lossy=True)
    sepia = np.rint(np.sqrt(eight / 255)[..., None] * [240, 215, 175]).astype(np.uint8)
    content = saved(sepia, "JPEG", quality=95)
    yield Row(path="sepia.jpg", content=content, pages=(by_pillow(content),), lossy=True)
    content = saved(colourful(), "JPEG", quality=95)
    yield Row(
        path="colour.jpg",
        content=content,
        pages=(by_pillow(content),),
        lossy=True,
        code="ALREADY_COLOR",
    )


def pngs() -> Iterator[Row]:
    for bits in (1, 2, 4, 8, 16):
        levels = gray(np.uint16) >> (16 - bits)
        shown = levels if bits == 16 else (levels * (255 // ((1 << bits) - 1))).astype(np.uint8)
        samples = levels.astype(">u2").tobytes() if bits == 16 else packed(levels, bits)
        yield Row(
            path=f"gray{bits}.png",
            content=png(samples, bits, 0),
            pages=(shown,),
            bits=max(8, bits),
            code="BILEVEL" if bits == 1 else "",
        )
    for dtype, bits in ((np.uint8, 8), (np.uint16, 16)):
        light, alpha = gray(dtype), gray(dtype)[::-1]
        for colour, pixels in {4: light, 6: three(light)}.items():
            samples = np.dstack([pixels, alpha]).astype(f">u{bits // 8}").tobytes()
            yield Row(
                path=f"alpha{colour}-{bits}.png",
                content=png(samples, bits, colour),
                pages=(pixels,),
                alpha=alpha,
                bits=bits,
            )
        samples = three(light).astype(f">u{bits // 8}").tobytes()
        yield Row(
            path=f"rgb-{bits}.png", content=png(samples, bits, 2), pages=(three(light),), bits=bits
        )
        clear = int(light[3, 5])
        yield Row(
            path=f"transparent-{bits}.png",
            content=png(
                light.astype(f">u{bits // 8}").tobytes(), bits, 0, (b"tRNS", clear.to_bytes(2))
            ),
            pages=(light,),
            alpha=np.where(light == clear, 0, np.iinfo(dtype).max).astype(dtype),
            bits=bits,
        )
    eight, ramp = gray(), np.arange(256, dtype=np.uint8)[::-1]
    colours = three(ramp).tobytes()
    yield Row(
        path="palette.png",
        content=png(eight.tobytes(), 8, 3, (b"PLTE", colours)),
        pages=(255 - eight,),
    )
    yield Row(
        path="palette-clear.png",
        content=png(eight.tobytes(), 8, 3, (b"PLTE", colours), (b"tRNS", ramp.tobytes())),
        pages=(three(255 - eight),),
        alpha=255 - eight,
    )
    yield Row(path="interlaced.png", content=interlaced_png(eight), pages=(eight,))
    content = saved(eight, "PNG", exif=tagged(6), **DPI)
    yield Row(path="turned.png", content=content, pages=(np.rot90(eight, 3),))
    for dtype, bits in ((np.uint8, 8), (np.uint16, 16)):
        light = gray(dtype)
        samples = light.astype(f">u{bits // 8}").tobytes()
        yield Row(
            path=f"gamma-{bits}.png",
            content=png(samples, bits, 0, (b"gAMA", struct.pack(">I", 100000))),
            pages=(with_gamma(light, 1.0),),
            most=2,
            bits=bits,
        )
        profile = imagecodecs.cms_profile("gray", gamma=1.8, whitepoint=[0.3457, 0.3585, 1.0])
        yield Row(
            path=f"profile-{bits}.png",
            content=png(samples, bits, 0, (b"iCCP", b"gray\0\0" + zlib.compress(profile))),
            pages=(with_gamma(light, 1.8),),
            most=1,
            bits=bits,
        )


def tiffs() -> Iterator[Row]:
    eight, sixteen = gray(), gray(np.uint16)
    plain: dict[str, tuple[np.ndarray, dict[str, Any]]] = {
        "gray8": (eight, {"resolution": (300, 300), "resolutionunit": "INCH"}),
        "gray16": (sixteen, {}),
        "tiled": (sixteen, {"tile": (16, 32)}),
        "big": (sixteen, {"bigtiff": True, "byteorder": ">"}),
        "big-endian": (sixteen, {"byteorder": ">"}),
        "turned": (
            eight,
            {
                "extratags": [
                    (274, "H", 1, 8, True),
                    (271, "s", 0, "Kodak", True),
                    (33723, 7, len(IPTC), IPTC, True),
                ]
            },
        ),
        **{
            name: (sixteen, {"compression": name, "predictor": name in ("lzw", "zlib", "zstd")})
            for name in ("lzw", "zlib", "packbits", "zstd", "lzma", "lerc", "jpegxl", "jpeg2000")
        },
    }
    for name, (pixels, options) in plain.items():
        lossless = {"compressionargs": {"level": 0}} if name == "jpeg2000" else {}
        lossless = {"compressionargs": {"lossless": True}} if name == "jpegxl" else lossless
        content = tiff(pixels, photometric="minisblack", **options, **lossless)
        shown = np.rot90(pixels) if name == "turned" else pixels
        yield Row(path=f"{name}.tif", content=content, pages=(shown,), bits=8 * pixels.itemsize)
    for bits, pixels in ((8, eight), (16, sixteen)):
        content = tiff(np.iinfo(pixels.dtype).max - pixels, photometric="miniswhite")
        yield Row(path=f"white{bits}.tif", content=content, pages=(pixels,), bits=bits)
        flat = np.dstack([np.zeros_like(three(pixels)), np.iinfo(pixels.dtype).max - pixels])
        content = tiff(flat, photometric="separated")
        yield Row(path=f"cmyk{bits}.tif", content=content, pages=(three(pixels),), bits=bits)
        planes = np.moveaxis(three(pixels), 2, 0)
        content = tiff(planes, photometric="rgb", planarconfig="separate")
        yield Row(path=f"planes{bits}.tif", content=content, pages=(three(pixels),), bits=bits)
        alpha = np.ascontiguousarray(pixels[::-1])
        content = tiff(
            np.dstack([pixels, alpha]), photometric="minisblack", extrasamples=["unassalpha"]
        )
        yield Row(path=f"la{bits}.tif", content=content, pages=(pixels,), alpha=alpha, bits=bits)
        content = tiff(
            np.dstack([three(np.minimum(pixels, alpha)), alpha]),
            photometric="rgb",
            extrasamples=["assocalpha"],
        )
        shown = three(np.minimum(pixels, alpha))
        yield Row(path=f"over{bits}.tif", content=content, pages=(shown,), alpha=alpha, bits=bits)
    content = tiff(eight, photometric="minisblack", compression="jpeg")
    yield Row(path="jpeg.tif", content=content, pages=(by_pillow(content),), most=1)
    twelve = sixteen >> 4
    content = tiff(np.frombuffer(packed(twelve, 12), np.uint8).reshape(HEIGHT, -1))
    content = retagged(content, {256: WIDTH, 258: 12})
    shown = np.rint(twelve * (65535 / 4095)).astype(np.uint16)
    yield Row(path="twelve.tif", content=content, pages=(shown,), bits=16)
    ramp = three(np.arange(256, dtype=np.uint16)[::-1] * 257)[0].T
    content = tiff(eight, photometric="palette", colormap=ramp)
    yield Row(path="palette.tif", content=content, pages=(255 - eight,))
    bilevel = eight > 128
    content = tiff(bilevel, photometric="miniswhite")
    shown = np.where(bilevel, 0, 255).astype(np.uint8)
    yield Row(path="bilevel.tif", content=content, pages=(shown,), code="BILEVEL")
    content = saved(Image.fromarray(bilevel), "TIFF", compression="group4")
    yield Row(path="fax.tif", content=content, pages=(by_pillow(content, "L"),), code="BILEVEL")
    lab = np.dstack([eight, np.zeros((HEIGHT, WIDTH, 2), np.uint8)])
    f = (eight / 255 * 100 + 16) / 116
    linear = np.where(f > 6 / 29, f**3, (f - 16 / 116) / 7.787)
    shown = three(np.rint(linear_to_srgb(linear) * 65535).astype(np.uint16))
    content = tiff(lab, photometric="cielab")
    yield Row(path="lab.tif", content=content, pages=(shown,), most=3)
    ranged = {"extratags": [(340, "f", 1, -1.0, True), (341, "f", 1, 3.0, True)]}
    floats = (sixteen / 65535 * 4 - 1).astype(np.float32)
    content = tiff(floats, photometric="minisblack", **ranged)
    yield Row(path="float.tif", content=content, pages=(sixteen,), bits=16, most=1)
    content = tiff(floats, photometric="minisblack")
    yield Row(path="float-no-range.tif", content=content, code="RANGE")
    ranged = {"extratags": [(340, "i", 1, 0, True), (341, "i", 1, 65535 * 9, True)]}
    content = tiff(sixteen.astype(np.int32) * 9, photometric="minisblack", **ranged)
    yield Row(path="int32.tif", content=content, pages=(sixteen,), bits=16)
    small = gray(np.uint16, 24, 32)
    options = ({}, {"subfiletype": 1}, {}, {"resolution": (150, 150), "resolutionunit": "INCH"})
    content = tiff(
        eight, eight[::4, ::4], small, three(eight[:16]), options=options, photometric=None
    )
    yield Row(path="pages.tiff", content=content, pages=(eight, small, three(eight[:16])), bits=0)


def retagged(content: bytes, values: dict[int, int]) -> bytes:
    """A little-endian classic TIFF with other SHORT or LONG values in its first directory."""
    edited = bytearray(content)
    (start,) = struct.unpack_from("<I", content, 4)
    (count,) = struct.unpack_from("<H", content, start)
    for place in range(start + 2, start + 2 + 12 * count, 12):
        (tag,) = struct.unpack_from("<H", content, place)
        if tag in values:
            struct.pack_into("<I", edited, place + 8, values[tag])
    return bytes(edited)


def others() -> Iterator[Row]:
    eight, sixteen = gray(), gray(np.uint16)
    alpha = eight[::-1]
    moving = {"save_all": True, "append_images": [Image.fromarray(three(255 - eight))]}
    for name, pixels, options in (
        ("lossy", three(eight), {"exif": tagged()}),
        ("lossless", three(eight), {"lossless": True}),
        ("alpha", np.dstack([three(eight), alpha]), {"lossless": True, "exact": True}),
        ("moving", three(eight), {"lossless": True, **moving}),
    ):
        content = saved(pixels, "WEBP", **options)
        yield Row(
            path=f"{name}.webp",
            content=content,
            pages=(by_opencv(content)[..., :3],),
            alpha=alpha if name == "alpha" else None,
            lossy=name == "lossy",
            most=1 if name == "lossy" else 0,
            code="ANIMATED" if name == "moving" else "",
        )
    yield Row(path="still.gif", content=saved(eight, "GIF"), pages=(eight,), output="PNG")
    moving = {"save_all": True, "append_images": [Image.fromarray(255 - eight)]}
    content = saved(eight, "GIF", **moving)
    yield Row(path="moving.gif", content=content, pages=(eight,), output="PNG", code="ANIMATED")
    yield Row(path="palette.bmp", content=saved(eight, "BMP"), pages=(eight,))
    yield Row(path="rgb.bmp", content=saved(three(eight), "BMP"), pages=(three(eight),))
    for bits, pixels in ((8, eight), (16, sixteen)):
        head, samples = b"%d %d %d\n", f">u{bits // 8}"
        head %= (WIDTH, HEIGHT, (1 << bits) - 1)
        content = b"P5\n# a comment\n" + head + pixels.astype(samples).tobytes()
        yield Row(path=f"gray{bits}.pgm", content=content, pages=(pixels,), bits=bits)
        content = b"P6 " + head + three(pixels).astype(samples).tobytes()
        yield Row(path=f"rgb{bits}.ppm", content=content, pages=(three(pixels),), bits=bits)
        for suffix, encode in {
            "jp2": lambda p: imagecodecs.jpeg2k_encode(p, level=0),
            "jxl": lambda p: imagecodecs.jpegxl_encode(p, lossless=True),
        }.items():
            content = bytes(encode(pixels))
            yield Row(path=f"gray{bits}.{suffix}", content=content, pages=(pixels,), bits=bits)
    ink = (eight > 128).astype(np.uint8)
    content = b"P4 %d %d\n" % (WIDTH, HEIGHT) + packed(ink, 1)
    yield Row(path="ink.pbm", content=content, pages=((1 - ink) * 255,), code="BILEVEL")
    text = b"P2 %d %d 255\n" % (WIDTH, HEIGHT) + " ".join(map(str, eight.ravel())).encode()
    yield Row(path="text.pgm", content=text + b"\n", pages=(eight,))
    content = saved(three(eight), "AVIF", quality=90)
    shown = by_opencv(content)
    yield Row(path="gray.avif", content=content, pages=(shown,), output="PNG", most=2)
    content = sample("HEIF")
    yield Row(
        path="gray.heic",
        content=content,
        pages=(np.array(pi_heif.read_heif(content)),),
        output="PNG",
    )


ROWS = {row.path: row for make in (jpegs, pngs, tiffs, others) for row in make()}
SHOWN = [name for name, row in ROWS.items() if row.pages]


class Outcome:
    """What became of the files of one item."""

    def __init__(
        self,
        folder: Path,
        contents: dict[str, bytes],
        *,
        accepted: Sequence[str] = (),
        modified: float | None = None,
        **config: Any,
    ) -> None:
        """accepted: paths of --accept-photo. modified: time of all originals, seconds since 1970."""
        source, self.root = folder / "in", folder / "out"
        rows = []
        for path, content in contents.items():
            source.joinpath(path).parent.mkdir(parents=True, exist_ok=True)
            source.joinpath(path).write_bytes(content)
            if modified is not None:
                os.utime(source.joinpath(path), (modified, modified))
            digest = hashlib.sha256(content).hexdigest()
            facts: dict[str, Any] = {"sha256": digest, "output": f"{path}.color", "key": ""}
            facts |= {"accepted": True} if path in accepted else {}
            rows.append({"path": path, "offset": -1, "bytes": len(content)} | facts)
        options = ColorizeConfig().output_parts()
        item = ColorizeItem(
            name="x",
            folder=str(folder),
            source=str(source),
            photos=tuple(rows),
            config=options | {"version": "1"} | config,
            models=starter_models(short_side=64),
            output=str(self.root),
        )
        colorize_chunk(item)
        record = json.loads((folder / "done/x.json").read_text())
        self.facts = {facts["photo"]: facts for facts in record["outputs"]}
        self.codes = {row["path"]: row["code"] for row in record["quarantined"]}
        self.details = {row["path"]: row["detail"] for row in record["quarantined"]}

    def path(self, photo: str) -> Path:
        return self.root / self.facts[photo]["output"]


@pytest.fixture(scope="module")
def coloured(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    contents = {name: row.content for name, row in ROWS.items()}
    return Outcome(tmp_path_factory.mktemp("accepted"), contents, accept=ACCEPT)


def output_pages(path: Path) -> list[np.ndarray]:
    """Of an output, by OpenCV; JPEG XL is read by the library that wrote it."""
    content = path.read_bytes()
    if path.suffix == ".jxl":
        return [np.asarray(imagecodecs.jpegxl_decode(content))]
    if path.suffix in (".tif", ".tiff"):
        found, pages = cv2.imdecodemulti(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
        assert found
        deep = [page[..., [2, 1, 0, 3][: page.shape[2]]] for page in pages]
        with Image.open(path) as image:
            if image.tag_v2.get(338) != (2,):
                return deep
            # OpenCV multiplies 8 bits by an alpha that is not associated; Pillow reads no 16 bits
            frames = [np.asarray(frame) for frame in ImageSequence.Iterator(image)]
        return [d if d.dtype == np.uint16 else f for d, f in zip(deep, frames, strict=True)]
    return [by_opencv(content)]


@pytest.mark.parametrize("name", SHOWN)
def test_decoding_gives_the_pixels_that_another_reader_gives(name):
    row = ROWS[name]
    photos = list(decode_pages(row.content))
    assert len(photos) == len(row.pages)
    for photo, expected in zip(photos, row.pages, strict=True):
        assert (photo.pixels.dtype, photo.pixels.shape) == (expected.dtype, expected.shape)
        assert np.abs(photo.pixels.astype(int) - expected).max() <= row.most
        assert (photo.header.height, photo.header.width) == expected.shape[:2]
    if row.alpha is None:
        assert photos[0].alpha is None
    else:
        np.testing.assert_array_equal(photos[0].alpha, row.alpha)


@pytest.mark.parametrize("name", SHOWN)
def test_the_output_is_as_its_original(name, coloured):
    row = ROWS[name]
    assert name in coloured.facts, coloured.details.get(name)
    path = coloured.path(name)
    own = Path(name).suffix
    own = {"PNG": ".png"}.get(row.output, ".ppm" if own in (".pgm", ".pbm") else own)
    assert path.name == f"{name}.color{own}"
    pages = output_pages(path)
    assert len(pages) == len(row.pages)
    for page, expected in zip(pages, row.pages, strict=True):
        assert page.shape[:2] == expected.shape[:2]
        assert page.shape[2] == (3 if row.alpha is None else 4)
        assert page.dtype.itemsize * 8 == (row.bits or 8 * expected.itemsize)
    if row.alpha is not None:
        np.testing.assert_array_equal(pages[0][..., 3], row.alpha)
    if row.code != "BILEVEL":  # black and white hold no colour in any gamut
        assert np.ptp(pages[0][..., :3].astype(int), axis=2).max() > 0


@pytest.mark.parametrize("name", [name for name in SHOWN if not ROWS[name].lossy])
def test_a_lossless_output_keeps_lightness(name, coloured):
    for page, original in zip(output_pages(coloured.path(name)), ROWS[name].pages, strict=True):
        change = compare_lightness(original, page[..., :3], dtype=page.dtype.type)
        assert change.max_codes <= max(1, ROWS[name].most)
    assert coloured.facts[name]["lossless"]


@pytest.mark.parametrize("name", [name for name in SHOWN if ROWS[name].lossy])
def test_a_lossy_output_keeps_lightness_on_average(name, coloured):
    (page,), (original,) = output_pages(coloured.path(name)), ROWS[name].pages
    assert compare_lightness(original, page, dtype=np.uint8).mean_L < 0.5
    assert not coloured.facts[name]["lossless"]


@pytest.mark.parametrize("name", SHOWN)
def test_the_output_tells_that_it_is_colourized(name, coloured):
    path = coloured.path(name)
    holds_metadata = path.suffix not in (".bmp", ".pgm", ".ppm", ".pbm", ".jp2", ".jxl")
    sidecar = path.with_name(path.name + ".xmp")
    assert sidecar.is_file() != holds_metadata
    content = (path if holds_metadata else sidecar).read_bytes()
    assert b"compositeWithTrainedAlgorithmicMedia" in content
    if holds_metadata:
        with Image.open(path) as image:
            profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
            assert "sRGB" in ImageCms.getProfileDescription(profile)
            assert image.getexif().get(0x0112, 1) == 1


@pytest.mark.parametrize("name", ["gray.jpg", "turned6.jpg", "turned.png", "lossy.webp"])
def test_exif_stays_and_dpi_where_there_was_one(name, coloured):
    with Image.open(coloured.path(name)) as image:
        exif = image.getexif()
        if name in ("gray.jpg", "turned.png"):
            assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)
    assert exif[0x010F] == "Kodak"
    assert exif.get_ifd(0x8769)[0x9003] == "1931:05:04 10:11:12"
    assert exif.get_ifd(0x8825)[2] == (48.0, 12.0, 30.0)


@pytest.mark.parametrize("name", ["gray.jpg", "turned.tif"])
def test_the_caption_of_iptc_stays_and_says_so(name, coloured):
    with Image.open(coloured.path(name)) as image:
        caption = IptcImagePlugin.getiptcinfo(image)[2, 120].decode()
    assert caption.startswith("Market") and caption.endswith(CAPTION)


def test_a_tiff_keeps_tags_pages_and_resolution(coloured):
    with Image.open(coloured.path("turned.tif")) as image:
        assert (image.tag_v2[271], image.tag_v2.get(274, 1)) == ("Kodak", 1)
    with Image.open(coloured.path("gray8.tif")) as image:
        assert image.info["dpi"] == (300, 300)
    with Image.open(coloured.path("pages.tiff")) as image:
        sizes = [image.size for _ in range(image.n_frames) if image.seek(_) is None]
        assert sizes == [(WIDTH, HEIGHT), (32, 24), (WIDTH, 16)]
        assert image.info["dpi"] == (150, 150)


def test_what_is_not_accepted_has_its_code(tmp_path):
    refused = {name: row for name, row in ROWS.items() if row.code}
    outcome = Outcome(tmp_path, {name: row.content for name, row in refused.items()})
    assert outcome.codes == {name: row.code for name, row in refused.items()}


def test_the_pages_of_a_cut_tiff_that_are_whole_are_coloured_on_request(tmp_path):
    content = tiff(*[gray()] * 3, photometric="minisblack", compression="lzw")
    cut = {"cut.tif": content[: len(content) * 5 // 6]}
    refused = Outcome(tmp_path / "refused", cut)
    assert refused.codes == {"cut.tif": "TRUNCATED"}
    assert "2 pages can be read: --salvage" in refused.details["cut.tif"]
    outcome = Outcome(tmp_path / "salvaged", cut, salvage=True)
    assert len(output_pages(outcome.path("cut.tif"))) == 2
    facts = outcome.facts["cut.tif"]
    assert facts["num_pages"] == 2
    assert facts["notes"][0].startswith("TRUNCATED: page 3 has strips that lie past the end")


@pytest.mark.parametrize("asked", ["declared", "auto"])
def test_a_narrow_range_is_in_the_record(asked, tmp_path):
    content = tiff(gray(np.uint16) >> 4, photometric="minisblack")
    outcome = Outcome(tmp_path, {"dark.tif": content}, range=asked)
    (pixels,) = output_pages(outcome.path("dark.tif"))
    assert (pixels.mean() > 10_000) == (asked == "auto")
    facts = OutputFacts.from_dict(outcome.facts["dark.tif"])
    assert facts.range == asked and "range" in facts.notes[0]


INFRARED = {"subfiletype": 2, "photometric": "minisblack"}
PAGED = {
    "gray": (gray(np.uint16), {"photometric": "minisblack"}),
    "BILEVEL": (gray() > 128, {"photometric": "miniswhite", "compression": "packbits"}),
    "ALREADY_COLOR": (colourful(), {"photometric": "rgb", "compression": "lzw", "predictor": 2}),
    "MASK": (gray(np.uint16)[::-1], {**INFRARED, "rowsperstrip": 7, "compression": "zlib"}),
    "THUMBNAIL": (gray()[::4, ::4], {"subfiletype": 1, "photometric": "minisblack"}),
}


def paged(*names: str, **options: Any) -> bytes:
    pages, own = zip(*(PAGED[name] for name in names), strict=True)
    return with_masks(tiff(*pages, options=own, **options))


@pytest.mark.parametrize("form", [{}, {"byteorder": ">"}, {"bigtiff": True}], ids=str)
@pytest.mark.parametrize(
    "names",
    [
        ("gray", "BILEVEL", "ALREADY_COLOR", "gray", "MASK", "THUMBNAIL"),
        ("BILEVEL", "THUMBNAIL", "MASK", "gray", "ALREADY_COLOR"),
        ("ALREADY_COLOR", "gray"),
    ],
    ids="-".join,
)
def test_each_page_is_on_its_own(names, form, tmp_path):
    content = paged(*names, **form)
    outcome = Outcome(tmp_path, {"mixed.tif": content})
    assert outcome.codes == {}
    facts, kept = outcome.facts["mixed.tif"], [name for name in names if name != "THUMBNAIL"]
    assert facts["num_pages"] == len(kept)
    told = {page["page"]: (page["output"], page["reason"]) for page in facts["pages"]}
    assert told == {
        number: (0 if name == "THUMBNAIL" else kept.index(name) + 1, name)
        for number, name in enumerate(names, 1)
        if name != "gray"
    }
    before = [page for page, name in zip(pages_of(content), names, strict=True) if name in kept]
    after = pages_of(outcome.path("mixed.tif").read_bytes())
    for name, old, new in zip(kept, before, after, strict=True):
        if name == "gray":
            assert new.photometric == 2 and new.asarray().shape == (HEIGHT, WIDTH, 3)
            codes = compare_lightness(old.asarray(), native(new), dtype=np.uint16).max_codes
            assert codes <= 1 and np.ptp(native(new).astype(int), axis=2).max() > 100
            continue
        assert strips(new) == strips(old), name
        for tag in (254, 256, 257, 258, 259, 262, 277, 278, 317):
            assert new.tags.valueof(tag) == old.tags.valueof(tag), (name, tag)
    photos = list(decode_pages(outcome.path("mixed.tif").read_bytes()))
    for photo, original in zip(photos, decode_pages(content), strict=True):
        assert photo.header.mask == original.header.mask
        if photo.header.mask or photo.header.bits == 1:
            np.testing.assert_array_equal(photo.pixels, original.pixels)


def pages_of(content: bytes) -> list[Any]:
    return list(tifffile.TiffFile(io.BytesIO(content)).pages)


def native(page: Any) -> np.ndarray:
    pixels = page.asarray()
    return pixels.astype(pixels.dtype.newbyteorder("="))


def strips(page: Any) -> list[bytes]:
    file = page.parent.filehandle
    spans = zip(page.dataoffsets, page.databytecounts, strict=True)
    return [file.read_array("u1", count, offset=place).tobytes() for place, count in spans]


def test_copied_pages_keep_what_is_said_of_them(tmp_path):
    said = [(270, "s", 0, "the back", True), (315, "s", 0, "E. Smith", True)]
    options = ({"photometric": "minisblack"}, {"photometric": "miniswhite", "extratags": said})
    content = tiff(gray(), gray() > 99, options=options, resolution=(600, 600))
    outcome = Outcome(tmp_path, {"a.tif": content})
    front, back = pages_of(outcome.path("a.tif").read_bytes())
    assert back.tags.valueof(315) == "E. Smith" and back.tags.valueof(270) == "the back"
    assert back.tags.valueof(282) == (600, 1) and back.tags.get(700) is None
    assert CAPTION in front.tags.valueof(270) if front.tags.get(270) else front.tags.get(700)


def test_a_file_of_which_no_page_is_to_be_coloured_is_skipped_by_its_first_reason(tmp_path):
    contents = {
        "a.tif": paged("BILEVEL", "MASK"),
        "b.tif": paged("ALREADY_COLOR", "BILEVEL"),
        "c.tif": paged("MASK"),
    }
    outcome = Outcome(tmp_path / "a", contents)
    assert outcome.codes == {"a.tif": "BILEVEL", "b.tif": "ALREADY_COLOR", "c.tif": "MASK"}
    accepted = Outcome(tmp_path / "b", contents, accept=("MASK", "BILEVEL"))
    assert not accepted.codes
    assert [page["reason"] for page in accepted.facts["b.tif"]["pages"]] == ["ALREADY_COLOR"]
    assert not any("pages" in accepted.facts[photo] for photo in ("a.tif", "c.tif"))


def test_a_mask_by_its_photometric_interpretation_is_copied(tmp_path):
    content = tiff(gray(), gray() > 128, photometric="minisblack")
    second = pages_of(content)[1]
    place = second.tags[262].valueoffset
    content = content[:place] + struct.pack("<H", 4) + content[place + 2 :]
    outcome = Outcome(tmp_path, {"a.tif": content})
    assert [page["reason"] for page in outcome.facts["a.tif"]["pages"]] == ["BILEVEL"]
    assert pages_of(outcome.path("a.tif").read_bytes())[1].photometric == 4


def test_pages_that_cannot_be_copied_are_refused_by_name(tmp_path):
    content = paged("gray", "MASK")
    mask = pages_of(content)[1]
    overlapping = bytearray(content)
    (places, counts) = (mask.tags[tag].valueoffset for tag in (273, 279))
    num = len(mask.dataoffsets)
    struct.pack_into(f"<{num}I", overlapping, places, *[8] * num)
    struct.pack_into(
        f"<{num}{'I' if mask.tags[279].dtype == 4 else 'H'}",
        overlapping,
        counts,
        *[len(content) // 2] * num,
    )
    with pytest.raises(PhotoError, match="they overlap") as caught:
        copy_page(
            TiffPage(content=bytes(overlapping), number=1),
            TiffWriter(io.BytesIO(), Layout("<", big=False), end=8),
        )
    assert caught.value.code == "DAMAGED"
    old = retagged(paged("gray"), {259: 6})
    with pytest.raises(PhotoError, match="page 1 passes through .* JPEG of TIFF 6.0") as caught:
        copy_page(
            TiffPage(content=old, number=0),
            TiffWriter(io.BytesIO(), Layout("<", big=False), end=8),
        )
    assert caught.value.code == "UNSUPPORTED_MODE"


def test_sepia_is_neutral_unless_its_toning_is_kept(coloured, tmp_path):
    kept = Outcome(tmp_path, {"sepia.jpg": ROWS["sepia.jpg"].content}, toning="keep")
    warm = by_opencv(kept.path("sepia.jpg").read_bytes()).astype(float)
    neutral = by_opencv(coloured.path("sepia.jpg").read_bytes()).astype(float)
    yellow = [np.mean(page[..., 0] - page[..., 2]) for page in (warm, neutral)]
    assert yellow[0] > yellow[1] + 20


def test_a_dng_is_developed_where_rawpy_is_installed(tmp_path):
    rawpy = pytest.importorskip("rawpy")
    content = dng(gray(np.uint16, 128, 160))
    outcome = Outcome(tmp_path, {"a.dng": content}, accept=ACCEPT)
    assert outcome.path("a.dng").name == "a.dng.color.tif", outcome.details
    (page,) = output_pages(outcome.path("a.dng"))
    with rawpy.imread(io.BytesIO(content)) as raw:
        shown = raw.postprocess(use_camera_wb=True, no_auto_bright=True, output_bps=16)
    assert (page.shape, page.dtype) == (shown.shape, np.uint16)


def dng(mosaic: np.ndarray) -> bytes:
    tags = [
        (33421, "H", 2, (2, 2), True),
        (33422, "B", 4, bytes([0, 1, 1, 2]), True),
        (50706, "B", 4, bytes([1, 4, 0, 0]), True),
        (50708, "s", 0, "Chromaflow test", True),
        (50721, "2i", 9, (1, 1, 0, 1, 0, 1, 0, 1, 1, 1, 0, 1, 0, 1, 0, 1, 1, 1), True),
        (50728, "2I", 3, (1, 1, 1, 1, 1, 1), True),
    ]
    return tiff(mosaic, photometric=32803, extratags=tags)


def megapixels(content: bytes) -> float:
    try:
        header = inspect(content)
    except PhotoError:
        return 0.0
    return header.width * header.height / 1e6


@pytest.mark.slow
@pytest.mark.skipif(not PICKED.is_dir(), reason="needs ../shared/data/hostile")
def test_every_picked_file_ends_as_an_output_or_a_documented_code(tmp_path):
    contents = {path.name: path.read_bytes() for path in PICKED.rglob("*.*") if path.is_file()}
    # colouring the larger ones takes half a minute and shows nothing more
    contents = {name: content for name, content in contents.items() if megapixels(content) < 1}
    assert len(contents) > 40
    outcome = Outcome(tmp_path, contents, accept=ACCEPT)
    assert outcome.facts.keys() | outcome.codes.keys() == contents.keys()
    assert set(outcome.codes.values()) <= {"RANGE", "UNSUPPORTED_MODE"}
    for name, facts in outcome.facts.items():
        with Image.open(outcome.path(name)) as image:
            assert image.size == (facts["width"], facts["height"]), name


@pytest.mark.slow
@pytest.mark.skipif(not PICKED.is_dir(), reason="needs ../shared/data/hostile")
@pytest.mark.filterwarnings("ignore:.*EXIF data.*:UserWarning")  # of the independent reader
def test_picked_files_have_pillows_pixels():
    num_compared = 0
    for path in sorted(p for p in PICKED.rglob("*") if p.is_file()):
        try:
            photo = decode(path.read_bytes())
        except PhotoError:
            continue
        if photo.pixels.dtype != np.uint8 or photo.header.mode == "CMYK":
            continue  # deeper than Pillow reads it, or through a profile that it does not apply
        with Image.open(path) as image:
            whole = image.convert("RGBA") if image.mode == "P" else image
            whole = ImageOps.exif_transpose(whole)
            shown = whole.convert("RGB" if photo.pixels.ndim == 3 else "L")
        np.testing.assert_array_equal(photo.pixels, np.asarray(shown), err_msg=path.name)
        num_compared += 1
    assert num_compared > 40


@pytest.mark.parametrize("wanted", ["png", "tiff", "jpeg", "webp"])
def test_another_output_format_on_request(wanted, tmp_path):
    names = ["gray.jpg", "gray16.tif", "palette.png", "gray16.pgm", "gray8.jxl", "pages.tiff"]
    contents = {name: ROWS[name].content for name in names}
    outcome = Outcome(tmp_path, contents, format=wanted, sidecar=True)
    single = names if wanted == "tiff" else names[:-1]
    assert set(outcome.facts) == set(single)
    assert outcome.codes == ({} if wanted == "tiff" else {"pages.tiff": "MULTI_PAGE"})
    for name in single:
        path, (original, *_) = outcome.path(name), ROWS[name].pages
        assert path.suffix in {"jpeg": (".jpg",), "tiff": (".tif", ".tiff")}.get(
            wanted, (f".{wanted}",)
        )
        assert b"compositeWith" in path.with_name(path.name + ".xmp").read_bytes()
        page = output_pages(path)[0]
        assert page.shape[:2] == original.shape
        assert page.dtype == (original.dtype if wanted in ("png", "tiff") else np.uint8)
        if outcome.facts[name]["lossless"]:
            assert compare_lightness(original, page, dtype=page.dtype.type).max_codes <= 1


def test_alpha_multiplied_into_a_tiff_is_taken_out_of_a_png(tmp_path):
    row = ROWS["over8.tif"]
    outcome = Outcome(tmp_path, {"over8.tif": row.content}, format="png")
    (page,) = output_pages(outcome.path("over8.tif"))
    np.testing.assert_array_equal(page[..., 3], row.alpha)
    seen = page[..., :3].mean(axis=2) * page[..., 3] / 255  # over black
    assert np.abs(seen - row.pages[0].mean(axis=2)).mean() < 6


@pytest.mark.parametrize("label", ["corner", "border"])
def test_a_visible_label_on_request(label, tmp_path):
    names = ["gray8.png", "gray16.tif", "alpha6-8.png"]
    outcome = Outcome(tmp_path, {name: ROWS[name].content for name in names}, label=label)
    for name in names:
        row, (page,) = ROWS[name], output_pages(outcome.path(name))
        assert page.shape[:2] == labelled_shape((HEIGHT, WIDTH), label)
        box = label_box((HEIGHT, WIDTH), label)
        (original,) = row.pages
        rgb = page[..., :3]
        change = compare_lightness(original, rgb, dtype=rgb.dtype.type, ignored=box)
        assert change.max_codes <= 1
        assert np.unique(page[box]).size > 2, "nothing is drawn"


def test_the_brand_of_a_box_with_64_bits_of_size_is_read():
    plain = struct.pack(">I4s", 24, b"ftyp") + b"avif\0\0\0\0mif1miaf"
    large = struct.pack(">I4sQ", 1, b"ftyp", 32) + b"avif\0\0\0\0mif1miaf"
    assert sniff(plain + bytes(99)) == sniff(large + bytes(99)) == "AVIF"
