"""Raw pictures through LibRaw, developed to sRGB."""

from __future__ import annotations

import io
from typing import Any

from storage.photos.codec import Header, OnePicture, shown


class Dng(OnePicture):
    """Digital negatives. Their package is not always installed."""

    def header(self, content: bytes) -> Header:
        import rawpy

        with rawpy.imread(io.BytesIO(content)) as raw:
            sizes = raw.sizes
        height, width = sizes.height, sizes.width
        if sizes.flip in (5, 6):
            height, width = width, height
        return shown(self.name, width=width, height=height, mode="RGB;16", bits=16)

    def pixels(self, content: bytes, header: Header) -> Any:
        """Upright, without brightening, white as the camera's."""
        import rawpy

        with rawpy.imread(io.BytesIO(content)) as raw:
            return raw.postprocess(
                use_camera_wb=True, no_auto_bright=True, output_bps=16, gamma=(2.4, 12.92)
            )
