"""Every format but TIFF, JPEG XL and raw: through Pillow with an allowlist.

Where Pillow would lose depth (16-bit colour of PNG, JPEG 2000 and PNM), imagecodecs or NumPy reads
the pixels.
"""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from storage.containers.parsing import part
from storage.containers.segments import (
    WEBP_ALPHA,
    WEBP_ANIMATION,
    boxes_are_cut,
    png_chunks,
    riff_chunks,
    webp_canvas,
)
from storage.errors import PhotoError
from storage.photos.codec import TRUSTED_OF_SLOW, Header, Like, OnePicture, at_full_range, shown

Image.MAX_IMAGE_PIXELS = None
"""The limit is `max_megapixels`, checked by the header before pixels are decoded."""
_ORIENTATION = 0x0112
_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK")
_JPEG2000_MODES = ("I;16", "LA;16", "RGB;16", "RGBA;16")
"""By components; the next by colour type (ISO/IEC 15948, 11.2.2)."""
_PNG_MODES = {0: "I;16", 2: "RGB;16", 4: "LA;16", 6: "RGBA;16"}
_JP2_CODESTREAM = b"\xff\x4f\xff\x51"
"""SOC and SIZ (ISO/IEC 15444-1, A.4)."""
_MOST_HEADER = 4096
_AT_ONCE = 1 << 20
_WEBP_QUALITY = 95
_LOOKED_AT = 1 << 16
"""Of a WebP: its picture chunk comes after the profile."""
_PNG_LEVEL = 4
"""Of zlib: half the time of 6 for 1% more bytes."""


class Pillow(OnePicture):
    """A format that Pillow reads as it is."""

    moves = True
    """Whether further frames make it an animation."""
    turns = True
    """Whether its EXIF's orientation is still to be applied. Of AVIF, Pillow tells boxes as EXIF."""

    def open(self, content: bytes) -> Image.Image:
        """The opened image; no pixel is decoded yet."""
        return Image.open(io.BytesIO(content), formats=(self.name,))

    def exif(self, image: Image.Image, content: bytes) -> Image.Exif:
        """EXIF without decoding pixels."""
        return image.getexif()

    def deep_mode(self, content: bytes) -> tuple[str, int] | None:
        """Mode and bits where a sample has over 8 bits: Pillow does not always say so."""
        return None

    def deep_pixels(self, content: bytes) -> NDArray[np.uint16]:
        """Samples of over 8 bits, at 16. Raises PhotoError."""
        raise PhotoError("UNSUPPORTED_MODE", f"expected at most 8 bits of {self.name}, got more")

    def header(self, content: bytes) -> Header:
        with self.open(content) as image:
            orientation = self.exif(image, content).get(_ORIENTATION, 1)
            plain = image.mode, 1 if image.mode == "1" else 8
            mode, bits = self.deep_mode(content) or plain
            if mode.partition(";")[0] not in (*_MODES, "I"):
                raise PhotoError("UNSUPPORTED_MODE", f"expected gray, RGB or CMYK, got {mode}")
            if "transparency" in image.info and mode in ("1", "L", "RGB"):
                mode = "RGBA" if mode == "RGB" else "LA"
            return shown(
                self.name,
                width=image.size[0],
                height=image.size[1],
                mode=mode,
                bits=bits,
                animated=self.moves and bool(getattr(image, "is_animated", False)),
                orientation=orientation if self.turns else 1,
            )

    def pixels(self, content: bytes, header: Header) -> NDArray[Any]:
        if header.mode.endswith(";16"):
            return self.deep_pixels(content)
        with self.open(content) as image:
            return np.asarray(image.convert(_plain_mode(image, header.mode)))


class Png(Pillow):
    """PNG."""

    writes_metadata = True

    def has_end(self, content: bytes) -> bool:
        return b"IEND" in content[-64:] or b"IEND\xaeB`\x82" in content

    def is_cut(self, content: bytes) -> bool:
        """By what its stream gives: for pictures that are not interlaced, too, less than the header says."""
        stream = b"".join(content[c.data] for c in png_chunks(content) if c.name == b"IDAT")
        width, height, bits, colour = struct.unpack_from(">IIBB", content, 16)
        channels = {2: 3, 4: 2, 6: 4}.get(colour, 1)
        wanted = height * (1 + -(-width * bits * channels // 8)) if not content[28] else 0
        worker, given = zlib.decompressobj(), 0
        while stream and not worker.eof:
            found = worker.decompress(stream, _AT_ONCE)
            given += len(found)
            stream = worker.unconsumed_tail
            if not found:
                break
        return not worker.eof or given < wanted

    def exif(self, image: Image.Image, content: bytes) -> Image.Exif:
        """As Pillow does, but its chunk may come after the pixels."""
        for chunk in png_chunks(content):
            if chunk.name == b"eXIf":
                image.info.setdefault("exif", content[chunk.data])
        return Image.Image.getexif(image)

    def deep_mode(self, content: bytes) -> tuple[str, int] | None:
        return (_PNG_MODES[content[25]], 16) if content[24] == 16 else None

    def pixels(self, content: bytes, header: Header) -> NDArray[Any]:
        with self.open(content) as image:
            image.verify()  # checks the CRCs, which load() does not
        return super().pixels(content, header)

    def deep_pixels(self, content: bytes) -> NDArray[np.uint16]:
        return np.asarray(imagecodecs.png_decode(content))

    def encode(self, rgb: Any, like: Like) -> bytes:
        return bytes(imagecodecs.png_encode(rgb, level=_PNG_LEVEL))


class WebP(Pillow):
    """WebP."""

    most_side = 16_383
    writes_deep = False
    writes_metadata = True
    working_bytes = 10

    def header(self, content: bytes) -> Header:
        """By its chunks: Pillow makes room for the pixels as soon as it opens one."""
        pieces = {chunk.name: content[chunk.data] for chunk in riff_chunks(content)}
        canvas = webp_canvas({name: data[:10] for name, data in pieces.items()})
        exif = pieces.get(b"EXIF", b"")
        return shown(
            self.name,
            width=canvas.width,
            height=canvas.height,
            mode="RGBA" if canvas.flags & WEBP_ALPHA else "RGB",
            animated=bool(canvas.flags & WEBP_ANIMATION),
            orientation=orientation_of(exif),
        )

    def has_end(self, content: bytes) -> bool:
        return int.from_bytes(content[4:8], "little") + 8 <= len(content) + 1

    def lossless(self, content: bytes) -> bool:
        return b"VP8L" in content[:_LOOKED_AT]

    def keeps_values(self, lossless: bool) -> bool:
        return lossless

    def encode(self, rgb: Any, like: Like) -> bytes:
        lossy = {"quality": _WEBP_QUALITY, "alpha_quality": 100}
        options: dict[str, Any] = {"lossless": True} if like.lossless else lossy
        return _saved(rgb, "WEBP", exact=True, **options)


class Gif(Pillow):
    """GIF."""

    def is_cut(self, content: bytes) -> bool:
        return not _gif_ends(content)


class Bmp(Pillow):
    """BMP."""

    writes_deep = False
    writes_alpha = False

    def is_cut(self, content: bytes) -> bool:
        """By the size of its own header, which is 0 in some that are whole."""
        return int.from_bytes(content[2:6], "little") > len(content)

    def encode(self, rgb: Any, like: Like) -> bytes:
        return _saved(rgb, "BMP", **({"dpi": like.dpi} if like.dpi else {}))


class Pnm(Pillow):
    """PBM, PGM and PPM."""

    writes_alpha = False

    def deep_mode(self, content: bytes) -> tuple[str, int] | None:
        magic, _, _, top, _ = pnm_header(content)
        return ("RGB;16" if magic in (3, 6) else "I;16", top.bit_length()) if top > 255 else None

    def deep_pixels(self, content: bytes) -> NDArray[np.uint16]:
        return _deep_pnm(content)

    def encode(self, rgb: Any, like: Like) -> bytes:
        height, width = rgb.shape[:2]
        top = np.iinfo(rgb.dtype).max
        samples: bytes = rgb.astype(f">u{rgb.itemsize}").tobytes()
        return b"P6\n%d %d\n%d\n" % (width, height, top) + samples


class Jpeg2000(Pillow):
    """JPEG 2000, as a file or a bare codestream."""

    working_bytes = 34
    trusted_bytes = TRUSTED_OF_SLOW

    def has_end(self, content: bytes) -> bool:
        return content.rfind(b"\xff\xd9") > content.rfind(b"\xff\x93")

    def deep_mode(self, content: bytes) -> tuple[str, int] | None:
        channels, bits = _jpeg2000_size(content)
        return (_JPEG2000_MODES[channels - 1], bits) if bits > 8 else None

    def deep_pixels(self, content: bytes) -> NDArray[np.uint16]:
        top = (1 << _jpeg2000_size(content)[1]) - 1
        # without its boxes: else a profile is applied, in 8 bits
        codestream = content[content.find(_JP2_CODESTREAM) :]
        return at_full_range(np.asarray(imagecodecs.jpeg2k_decode(codestream)), top)

    def encode(self, rgb: Any, like: Like) -> bytes:
        return bytes(imagecodecs.jpeg2k_encode(rgb, level=0, reversible=True))


class Avif(Pillow):
    """AVIF."""

    working_bytes = 10
    trusted_bytes = TRUSTED_OF_SLOW

    def is_cut(self, content: bytes) -> bool:
        return boxes_are_cut(content)


class Heif(Avif):
    """HEIF: pictures beside the primary one are no frames; it turns by boxes, in the decoder."""

    moves = turns = False

    def open(self, content: bytes) -> Image.Image:
        import pi_heif

        pi_heif.register_heif_opener()
        return super().open(content)


def _gif_ends(content: bytes) -> bool:
    """Whether the blocks of a GIF lead to its trailer (GIF89a, appendix B)."""
    place = 13 + (3 << (content[10] & 7) + 1 if content[10] & 0x80 else 0)
    while place < len(content):
        kind = content[place]
        if kind == 0x3B:
            return True
        if kind == 0x2C:  # a picture: its descriptor, its colours, the size of its codes
            packed = content[place + 9]
            place += 11 + (3 << (packed & 7) + 1 if packed & 0x80 else 0)
        elif kind == 0x21:
            place += 2
        else:
            return True  # no block: damaged, not cut
        while place < len(content) and content[place]:
            place += 1 + content[place]
        place += 1
    return False


def orientation_of(exif: bytes) -> Any:
    """What an EXIF structure says of it; 1 where it says nothing or does not parse."""
    found = Image.Exif()
    part(None, found.load, exif)
    return found.get(_ORIENTATION, 1)


def _saved(rgb: Any, format_name: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, format_name, **options)
    return buffer.getvalue()


def _plain_mode(image: Image.Image, mode: str) -> str:
    if image.mode in ("P", "PA"):
        clear = "transparency" in image.info or image.mode == "PA"
        return _palette_mode(image, clear)
    return "L" if mode == "1" else mode


def _palette_mode(image: Image.Image, clear: bool) -> str:
    palette = np.asarray(image.getpalette() or [0, 0, 0]).reshape(-1, 3)
    gray = (palette == palette[:, :1]).all()
    if clear:
        return "LA" if gray and image.mode == "PA" else "RGBA"
    return "L" if gray else "RGB"


def pnm_header(content: bytes) -> tuple[int, int, int, int, int]:
    """Number of the magic, width, height, maximum, and where the samples begin (netpbm's pnm(5))."""
    words: list[int] = []
    wanted, place = (2 if content[1:2] in b"14" else 3), 2
    while len(words) < wanted:
        rest = content[place : place + _MOST_HEADER].lstrip(b" \t\r\n\v\f")
        place += len(content[place : place + _MOST_HEADER]) - len(rest)
        if rest.startswith(b"#"):
            place += rest.find(b"\n") + 1 or len(rest)
            continue
        digits = len(rest) - len(rest.lstrip(b"0123456789"))
        if not 0 < digits < 10:
            raise PhotoError("DAMAGED", "expected numbers in the header of a PNM, got others")
        words.append(int(rest[:digits]))
        place += digits
    top = words[2] if wanted == 3 else 1
    if not 0 < top < 65536:
        raise PhotoError("DAMAGED", f"expected a maximum of 1..65535, got {top}")
    return int(content[1:2]), words[0], words[1], top, place + 1


def _deep_pnm(content: bytes) -> NDArray[np.uint16]:
    magic, width, height, top, start = pnm_header(content)
    channels = 3 if magic in (3, 6) else 1
    count = width * height * channels
    if magic in (2, 3):
        samples = np.array(content[start:].split()[:count], np.int64)
    else:
        samples = np.frombuffer(content[start : start + 2 * count], ">u2").astype(np.int64)
    if samples.size < count:
        raise PhotoError("TRUNCATED", f"expected {count} samples, got {samples.size}")
    deep = at_full_range(samples, top).astype(np.uint16, copy=False)
    return deep.reshape((height, width, 3) if channels == 3 else (height, width))


def _jpeg2000_size(content: bytes) -> tuple[int, int]:
    """Number of components and their bits, from the SIZ marker (ISO/IEC 15444-1, A.5.1)."""
    start = content.find(_JP2_CODESTREAM)
    if start < 0 or len(content) < start + 43:
        raise PhotoError("TRUNCATED", "expected a codestream of JPEG 2000, found none")
    channels = int.from_bytes(content[start + 40 : start + 42], "big")
    bits = (content[start + 42] & 0x7F) + 1
    if channels not in (1, 2, 3, 4) or not 1 <= bits <= 16:
        raise PhotoError(
            "UNSUPPORTED_MODE",
            f"expected 1 to 4 components of up to 16 bits, got {channels} of {bits}",
        )
    return channels, bits
