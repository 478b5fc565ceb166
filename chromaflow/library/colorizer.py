"""`chromaflow.colorize` and `chromaflow.Colorizer`: what callers of the library meet."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from chromaflow.library.colourings import Colouring, HintSpec, Page, full_size_map, page_of
from chromaflow.library.files import Coloured, read_pages, write_coloured
from chromaflow.library.images import InMemory, in_memory
from chromaflow.library.models import STARTER, Models, expert_files, load_models
from colorization.merging.inference import MergedColorizer
from colorization.merging.prediction import Prediction
from colorization.networks.palette_choice import (
    MEAN,
    MOST_VARIANTS,
    PaletteChoice,
    code_of_palette,
    parse_palette,
)
from storage.errors import REASONS, UsageError
from storage.photos.photo import Photo

PathLike = str | os.PathLike[str]
AnyImage = NDArray[Any] | Image.Image | PathLike
"""A numpy array, a picture of Pillow, or where a photo lies."""
_TONINGS = ("neutral", "keep", "replace")
_AHEAD = 16
"""Photos that `colorize_many` looks at together."""


class Colorizer:
    """Colours photos with experts that are loaded once.

    Examples:
        >>> import chromaflow, numpy
        >>> colorizer = chromaflow.Colorizer(palette="likely")
        >>> gray = numpy.tile(numpy.arange(96, dtype=numpy.uint8) * 2, (64, 1))
        >>> colorizer.colorize(gray).shape
        (64, 96, 3)

    One may be shared by threads.
    """

    def __init__(
        self,
        models: Models = STARTER,
        *,
        palette: str = MEAN,
        toning: str = "neutral",
        accept: Iterable[str] = (),
        device: str = "auto",
        short_side: int = 256,
    ) -> None:
        """Load the experts, which takes about two seconds. Raises ChromaflowError for a wrong argument.

        models: `starter`, the workspace of a project that has trained, or a mapping of category (people,
        birds, animals, places) to weights file; the starter's colour what these leave out.
        palette: which of its plausible colourings a photo gets: mean, likely, 1 to 48, or the code of one
        that you liked. toning: of sepia and the like: neutral replaces it, keep adds the colours to it;
        both keep what is coloured far beyond it, as a stamp; replace keeps nothing.
        accept: codes of what is coloured all the same: ALREADY_COLOR, BILEVEL, MASK, ANIMATED.
        device: auto, cpu or cuda. short_side: at which the networks see photos, pixels.
        """
        self._palette = parse_palette(palette)
        self._accept = tuple(accept)
        if toning not in _TONINGS:
            raise UsageError(f"Expected toning of {', '.join(_TONINGS)}; got {toning!r}.")
        known = [code for code, reason in REASONS.items() if reason.acceptable]
        for code in self._accept:
            if code not in known:
                raise UsageError(f"Expected accept of {', '.join(known)}; got {code!r}.")
        if short_side < 32:
            raise UsageError(f"Expected short_side of 32 or more, got {short_side}.")
        self._toning = toning
        self._files = expert_files(models)
        self._merged = load_models(self._files, device, short_side)

    @overload
    def colorize(
        self, image: NDArray[Any], *, palette: str | None = ..., hints: Iterable[HintSpec] = ...
    ) -> NDArray[Any]: ...
    @overload
    def colorize(
        self, image: Image.Image, *, palette: str | None = ..., hints: Iterable[HintSpec] = ...
    ) -> Image.Image: ...
    @overload
    def colorize(
        self,
        image: PathLike,
        *,
        palette: str | None = ...,
        hints: Iterable[HintSpec] = ...,
        output: PathLike | None = ...,
        overwrite: bool = ...,
    ) -> Path: ...
    def colorize(
        self,
        image: AnyImage,
        *,
        palette: str | None = None,
        hints: Iterable[HintSpec] = (),
        output: PathLike | None = None,
        overwrite: bool = False,
    ) -> Any:
        """The photo in colour, of the kind that it was given as.

        image: uint8 or uint16, height × width, gray, or × 3, RGB, or × 4 with alpha, sRGB-encoded, which
        gives RGB or RGBA of the same depth; a Pillow image, which gives one with 8 bits, upright; or the path of
        a photo, whose colour is written as `chromaflow colorize` does, to NAME.color.EXT beside it, and
        whose path is returned. palette: instead of the colorizer's. hints: (x, y, colour), colour as in
        HTML or (R, G, B). output: of a path, the file or folder to write to; overwrite: whether it may be there already.

        Examples:
            >>> import chromaflow, numpy
            >>> gray = numpy.full((64, 64), 120, numpy.uint8); gray[16:48, 16:48] = 180
            >>> red = chromaflow.Colorizer().colorize(gray, hints=[(32, 32, "#c03020")])
            >>> int(red[32, 32, 0]) - int(red[32, 32, 2]) > 40
            True

        Raises PhotoError, whose `code` is a reason as `chromaflow explain` knows them, UsageError for a
        wrong argument, OutputError for a disk that refuses.
        """
        choice = self._choice(palette)
        hints = list(hints)
        if isinstance(image, (str, os.PathLike)):
            where = Path(output) if output is not None else None
            return self._write(Path(image), where, choice, hints, overwrite)
        if output is not None:
            raise UsageError("Expected output with the path of a photo only, got it with an image.")
        given = in_memory(image)
        page = self._page(given.photo, choice, hints)
        (found,) = self._merged.predict_many([page.asked])
        return given.restored(page.pixels(found.ab))

    def colorize_many(
        self, images: Iterable[NDArray[Any] | Image.Image], *, palette: str | None = None
    ) -> Iterator[Any]:
        """As `colorize`, for many images in memory, in their order; each as it would be alone, small ones faster.

        images: read as they are needed, sixteen at a time.

        Examples:
            >>> import chromaflow, numpy
            >>> ramps = [numpy.tile(numpy.arange(48, dtype=numpy.uint8) * n, (40, 1)) for n in (2, 3, 4)]
            >>> [image.shape for image in chromaflow.Colorizer().colorize_many(ramps)]
            [(40, 48, 3), (40, 48, 3), (40, 48, 3)]
        """
        choice, waiting = self._choice(palette), iter(images)
        while some := list(islice(waiting, _AHEAD)):
            given = [in_memory(image) for image in some]
            pages = [self._page(one.photo, choice, ()) for one in given]
            for one, page, found in zip(given, pages, self._predicted(pages), strict=True):
                yield one.restored(page.pixels(found.ab))

    def variants(self, image: AnyImage, count: int = 3) -> list[Colouring]:
        """The likeliest colourings of a photo, best first, each with the code of its palette.

        Of a path: read, not written; its images are arrays. Fewer than `count`, or none, where the experts
        follow no palettes.

        Examples:
            >>> import chromaflow, numpy
            >>> gray = numpy.tile(numpy.arange(64, dtype=numpy.uint8) * 3, (64, 1))
            >>> [len(one.palette) for one in chromaflow.Colorizer().variants(gray, 2)]
            [16, 16]
        """
        if not 1 <= count <= MOST_VARIANTS:
            raise UsageError(f"Expected 1..{MOST_VARIANTS} variants, got {count}.")
        given, page = self._looked_at(image)
        (found,) = self._asking(num_variants=count).predict_many([page.asked])
        return [Colouring(given.restored(page.pixels(v.ab)), v.palette) for v in found.variants]

    def uncertainty(self, image: AnyImage) -> NDArray[np.float32]:
        """How far what could be said of each pixel is apart: float32, height × width, Lab units.

        About 2 is just seen; over 15 or so the colour is a guess.

        Examples:
            >>> import chromaflow, numpy
            >>> gray = numpy.tile(numpy.arange(64, dtype=numpy.uint8) * 3, (64, 1))
            >>> chromaflow.Colorizer().uncertainty(gray).shape
            (64, 64)
        """
        _, page = self._looked_at(image)
        (found,) = self._asking(uncertainty=True).predict_many([page.asked])
        assert found.uncertainty is not None
        size: NDArray[np.float32] = full_size_map(found.uncertainty, page.photo.pixels.shape)
        return size

    def palette_of(self, image: AnyImage) -> str:
        """The code of the palette that a colour photo has, for `palette` of another one."""
        pixels = _given(image).photo.pixels
        if pixels.ndim == 2:
            raise UsageError("Expected a colour photo for its palette, got a gray one.")
        return code_of_palette(self._merged.palette_of(pixels).numbers)

    def _choice(self, palette: str | None) -> PaletteChoice:
        return self._palette if palette is None else parse_palette(palette)

    def _page(self, photo: Photo, choice: PaletteChoice, hints: Iterable[HintSpec]) -> Page:
        return page_of(
            self._merged,
            photo,
            hints=hints,
            palette=choice,
            toning=self._toning,
            accept=self._accept,
        )

    def _looked_at(self, image: AnyImage) -> tuple[InMemory, Page]:
        given = _given(image)
        return given, self._page(given.photo, self._palette, ())

    def _asking(self, **more: Any) -> MergedColorizer:
        """The same networks, asked for more."""
        other = copy(self._merged)
        for name, value in more.items():
            setattr(other, name, value)
        return other

    def _predicted(self, pages: Sequence[Page]) -> list[Prediction]:
        """Those of one network size together, as many as are best so."""
        found: dict[int, Prediction] = {}
        by_size: dict[tuple[int, int], list[int]] = defaultdict(list)
        for number, page in enumerate(pages):
            by_size[self._merged.size_of(*page.photo.pixels.shape[:2])].append(number)
        for size, numbers in by_size.items():
            most = self._merged.together(size)
            for start in range(0, len(numbers), most):
                some = numbers[start : start + most]
                asked = [pages[number].asked for number in some]
                found.update(zip(some, self._merged.predict_many(asked), strict=True))
        return [found[number] for number in range(len(pages))]

    def _write(
        self,
        path: Path,
        output: Path | None,
        choice: PaletteChoice,
        hints: Sequence[HintSpec],
        overwrite: bool,
    ) -> Path:
        def page(photo: Photo, is_first: bool) -> Page:
            return self._page(photo, choice, hints if is_first else ())

        return write_coloured(path, output, overwrite, self._files, page, self._colours)

    def _colours(self, page: Page) -> Coloured:
        (found,) = self._merged.predict_many([page.asked])
        return Coloured(found.ab, found.palette, found.runtime)


def _given(image: AnyImage) -> InMemory:
    """An image in memory, or the first page of a file, which comes back as an array."""
    if isinstance(image, (str, os.PathLike)):
        return InMemory(next(read_pages(Path(image))[1]), lambda pixels: pixels)
    return in_memory(image)


_shared = lru_cache(maxsize=1)(Colorizer)


@overload
def colorize(
    image: NDArray[Any], *, palette: str = ..., hints: Iterable[HintSpec] = ...
) -> NDArray[Any]: ...
@overload
def colorize(
    image: Image.Image, *, palette: str = ..., hints: Iterable[HintSpec] = ...
) -> Image.Image: ...
@overload
def colorize(
    image: PathLike,
    *,
    palette: str = ...,
    hints: Iterable[HintSpec] = ...,
    output: PathLike | None = ...,
    overwrite: bool = ...,
) -> Path: ...
def colorize(image: AnyImage, *, palette: str = MEAN, **options: Any) -> Any:
    """A photo in colour by the starter experts; see `Colorizer.colorize`. They are loaded by the first call.

    Examples:
        >>> import chromaflow, numpy
        >>> gray = numpy.tile(numpy.arange(64, dtype=numpy.uint16) * 900, (48, 1))
        >>> chromaflow.colorize(gray, palette="likely").dtype
        dtype('uint16')
    """
    return _shared().colorize(image, palette=palette, **options)
