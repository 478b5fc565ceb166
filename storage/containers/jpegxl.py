"""The head of a JPEG XL's codestream: size, bits, whether it has a profile (ISO/IEC 18181-1, annex D)."""

from __future__ import annotations

from dataclasses import dataclass

from storage.containers.segments import JPEGXL_START, iso_boxes
from storage.errors import PhotoError

_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))


@dataclass(frozen=True, slots=True)
class JpegXlHead:
    """What it says before its pixels."""

    width: int
    height: int
    bits: int
    has_profile: bool
    """Of its own, which is not sRGB; False where extra channels come before it says so."""


def codestream(content: bytes) -> bytes:
    """Its start, out of the boxes of ISO/IEC 18181-2 where it is in a container."""
    if not content.startswith(JPEGXL_START):
        return content[:32]
    for kind, start, _ in iso_boxes(content, 12):
        if kind in (b"jxlc", b"jxlp"):
            start += 4 if kind == b"jxlp" else 0  # the part's number
            return content[start : start + 32]
    raise PhotoError("TRUNCATED", "expected a codestream of JPEG XL, found none")


class _Bits:
    """Little-endian bits of a codestream after its signature FF 0A."""

    def __init__(self, stream: bytes) -> None:
        self._bits, self._place = int.from_bytes(stream[2:], "little"), 0

    def take(self, count: int) -> int:
        """The next bits as a number."""
        self._place += count
        return (self._bits >> (self._place - count)) & ((1 << count) - 1)

    def side(self, small: bool) -> int:
        """A side of the picture, pixels."""
        if small:
            return (self.take(5) + 1) * 8
        return self.take((9, 13, 18, 30)[self.take(2)]) + 1

    def size(self) -> tuple[int, int]:
        """Width and height by SizeHeader (ISO/IEC 18181-1, annex D)."""
        small = bool(self.take(1))
        height = self.side(small)
        ratio = self.take(3)
        if not ratio:
            return self.side(small), height
        across, down = _RATIOS[ratio - 1]
        return height * across // down, height


def read_head(stream: bytes) -> JpegXlHead:
    """By SizeHeader and ImageMetadata.

    Raises PhotoError UNSUPPORTED_MODE for an animation, a preview or float samples.
    """
    bits = _Bits(stream)
    width, height = bits.size()
    if bits.take(1):  # all_default
        return JpegXlHead(width, height, 8, has_profile=False)
    if bits.take(1):  # extra_fields
        bits.take(3)  # orientation, which the decoder applies
        if bits.take(1):
            bits.size()  # intrinsic_size
        if bits.take(1) or bits.take(1):
            raise PhotoError("UNSUPPORTED_MODE", "expected one still picture, got more frames")
    if bits.take(1):
        raise PhotoError("UNSUPPORTED_MODE", "expected whole samples, got float ones")
    choice = bits.take(2)
    depth = (8, 10, 12)[choice] if choice < 3 else 1 + bits.take(6)
    bits.take(1)  # modular_16bit_buffers
    plain = bits.take(2) == 0 and not bits.take(1)  # no extra channels, not XYB, which is absolute
    return JpegXlHead(
        width, height, depth, has_profile=plain and not bits.take(1) and bool(bits.take(1))
    )
