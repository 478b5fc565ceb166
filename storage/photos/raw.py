"""Raw pictures of cameras through LibRaw, developed to sRGB."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from storage.camera_raw import camera_raw
from storage.errors import PhotoError
from storage.photos.codec import Codec, Page, Samples, shown

_SETTINGS: dict[str, Any] = {
    "use_camera_wb": True,
    "no_auto_bright": True,
    "output_bps": 16,
    "gamma": (2.4, 12.92),
}
_SAID = "the camera's white balance, no automatic brightness, sRGB, 16 bit"


class Raw(Codec):
    """Digital negatives and cameras' own kinds. Their package is not always installed."""

    working_bytes = 40

    def pages(self, content: bytes) -> list[Page]:
        """The one picture. Raises PhotoError UNSUPPORTED_FORMAT for what LibRaw does not read."""
        with _libraw(content, "UNSUPPORTED_FORMAT") as raw:
            sizes = raw.sizes
        height, width = sizes.iheight, sizes.iwidth
        if sizes.flip in (5, 6):
            height, width = width, height
        header = shown(self.name, width=width, height=height, mode="RGB;16", bits=16)
        return [Page(header=header, pixels=partial(_developed, content))]


def _developed(content: bytes) -> Samples:
    """Upright, without brightening, white as the camera's."""
    import rawpy

    with _libraw(content, "DAMAGED") as raw:
        pixels = raw.postprocess(**_SETTINGS)
    note = f"developed by LibRaw {'.'.join(map(str, rawpy.libraw_version))}: {_SAID}"
    return Samples(colours=pixels, ranged=True, note=note)


@contextmanager
def _libraw(content: bytes, code: str) -> Iterator[Any]:
    """LibRaw with a file. code: of the PhotoError for what it says is wrong, unless it knows it not."""
    import rawpy

    kind = f"camera raw ({camera_raw(content) or 'DNG'})"
    try:
        with rawpy.imread(io.BytesIO(content)) as raw:
            yield raw
    except (rawpy.LibRawError, rawpy.NotSupportedError) as error:
        unknown = isinstance(error, rawpy.LibRawFileUnsupportedError | rawpy.NotSupportedError)
        raise PhotoError(
            "UNSUPPORTED_FORMAT" if unknown else code,
            f"expected {kind} that LibRaw reads, got one that it does not",
        ) from error
