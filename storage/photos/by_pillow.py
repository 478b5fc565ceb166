"""Headers and pixels of every format but TIFF, JPEG XL and raw: through Pillow with an allowlist.

Where Pillow would lose depth (16-bit colour of PNG, JPEG 2000 and PNM), imagecodecs or NumPy reads
the pixels.
"""

from __future__ import annotations

import io
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from storage.containers.segments import png_chunks
from storage.errors import PhotoError
from storage.photos import jpeg

_ORIENTATION = 0x0112
_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK")
_MOST_HEADER = 4096


def open_image(name: str, content: bytes) -> Image.Image:
    """The opened image; no pixel is decoded yet."""
    if name == "HEIF":
        import pi_heif

        pi_heif.register_heif_opener()
    return Image.open(io.BytesIO(content), formats=(name,))


def read_header(name: str, image: Image.Image, content: bytes) -> dict[str, Any]:
    """Mode, bits, orientation, whether it moves, for `storage.photos.photo.Header`.

    Raises PhotoError UNSUPPORTED_MODE.
    """
    orientation = _exif_of(name, image, content).get(_ORIENTATION, 1)
    deep = _deep_mode(name, content)
    mode, bits = deep if deep else (image.mode, 1 if image.mode == "1" else 8)
    if mode.partition(";")[0] not in (*_MODES, "I"):
        raise PhotoError("UNSUPPORTED_MODE", f"expected gray, RGB or CMYK, got {mode}")
    moves = bool(getattr(image, "is_animated", False)) and name not in ("JPEG", "HEIF")
    if "transparency" in image.info and mode in ("1", "L", "RGB"):
        mode = "RGBA" if mode == "RGB" else "LA"
    return {
        "width": image.size[0],
        "height": image.size[1],
        "mode": mode,
        "bits": bits,
        "animated": moves,
        # HEIF turns by boxes, and its decoder does it; of AVIF Pillow reports them as EXIF's tag
        "orientation": orientation if orientation in range(1, 9) and name != "HEIF" else 1,
    }


def _exif_of(name: str, image: Image.Image, content: bytes) -> Image.Exif:
    """EXIF without decoding pixels, as Pillow does for a PNG: its chunk may come after them."""
    if name != "PNG":
        return image.getexif()
    for chunk in png_chunks(content):
        if chunk.name == b"eXIf":
            image.info.setdefault("exif", content[chunk.data])
    return Image.Image.getexif(image)


def read_pixels(name: str, content: bytes, mode: str) -> NDArray[Any]:
    """The first frame as stored: uint8 or uint16, (H, W) or (H, W, C), C with alpha last."""
    if name == "PNG":
        with open_image(name, content) as image:
            image.verify()  # checks the CRCs, which load() does not
    if name == "JPEG":
        return jpeg.decode_pixels(content, mode)
    if mode.endswith(";16"):
        return _deep_pixels(name, content)
    with open_image(name, content) as image:
        return np.asarray(image.convert(_plain_mode(image, mode)))


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


def _deep_mode(name: str, content: bytes) -> tuple[str, int] | None:
    """Mode and bits where a sample has over 8 bits: Pillow does not always say so."""
    channels, bits = 0, 8
    if name == "PNG" and content[24] == 16:
        channels, bits = {0: 1, 2: 3, 4: 2, 6: 4}[content[25]], 16
    elif name == "PPM":
        magic, _, _, top, _ = pnm_header(content)
        channels, bits = (3 if magic in (3, 6) else 1), top.bit_length()
    elif name == "JPEG2000":
        channels, bits = _jpeg2000_size(content)
    if bits <= 8:
        return None
    return {1: "I;16", 2: "LA;16", 3: "RGB;16", 4: "RGBA;16"}[channels], bits


def _deep_pixels(name: str, content: bytes) -> NDArray[np.uint16]:
    if name == "PNG":
        return np.asarray(imagecodecs.png_decode(content))
    if name == "PPM":
        return _deep_pnm(content)
    _, bits = _jpeg2000_size(content)
    samples = np.asarray(imagecodecs.jpeg2k_decode(content))
    top = (1 << bits) - 1
    return samples if bits == 16 else np.rint(samples * (65535 / top)).astype(np.uint16)


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
    scaled = np.rint(np.minimum(samples, top) * (65535 / top)).astype(np.uint16)
    return scaled.reshape((height, width, 3) if channels == 3 else (height, width))


def _jpeg2000_size(content: bytes) -> tuple[int, int]:
    """Number of components and their bits, from the SIZ marker (ISO/IEC 15444-1, A.5.1)."""
    start = content.find(b"\xff\x4f\xff\x51")
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
