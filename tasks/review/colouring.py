"""Colours to look at before a run writes them: networks in one thread, the scene of the photo at hand kept.

A preview shows at most `LONGEST` pixels a side, and leaves out `abstain`; the file that a run writes is
exact.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from storage.records.workspace import Workspace
from tasks.config.model import Workflow
from tasks.engine.kept import Output
from tasks.review.pictures import Pictures, eight_bit, first_page, large_jpeg

if TYPE_CHECKING:  # torch takes seconds, and the page opens without it
    import numpy as np
    from numpy.typing import NDArray

    from colorization.colour.full_size import Kept
    from colorization.merging.hinting import Hint, HintField
    from colorization.merging.inference import MergedColorizer
    from colorization.merging.scene import Scenes

LONGEST = 1536
"""Long side of a preview, pixels."""
SMALL = 256
_SCENES = 3
_LIKELIEST = 6
MEAN, LIKELY = "mean", "likely"


@dataclass
class Seen:
    """A photo as the networks see it, and what it takes to colour it again."""

    scene: Scenes
    pixels: Any
    """At most LONGEST a side, uint8 or uint16."""
    size: tuple[int, int]
    """Width and height of the photo."""
    kept: Kept
    field: HintField | None = None
    """For hints, found with the first one."""


class Colouring:
    """The models of an archive, loaded once, and the photos that were looked at last.

    All that it does is done by one thread, the newest question first: a person who goes on waits for nobody.
    """

    def __init__(self, workspace: Workspace, workflow: Workflow, pictures: Pictures) -> None:
        self._workspace, self._workflow, self._pictures = workspace, workflow, pictures
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="colouring")
        self._seen: OrderedDict[str, Seen] = OrderedDict()
        self._models: MergedColorizer | None = None

    def load(self) -> Future[Any]:
        """Begin to load the models."""
        return self._thread.submit(self._colorizer)

    def preview(
        self, output: Output, palette: str, hints: Sequence[Sequence[float]], side: int = LONGEST
    ) -> Future[tuple[bytes, str]]:
        """A JPEG of the photo coloured so, and the code of the palette that it follows.

        palette: as `[colorize] palette`; empty for the run's. hints: x, y, R, G, B, as in decisions.
        """
        return self._thread.submit(self._preview, output, palette, tuple(hints), side)

    def variants(self, output: Output) -> Future[list[dict[str, Any]]]:
        """The colourings to choose from, the run's own first: name, palette and a small JPEG of each."""
        return self._thread.submit(self._variants, output)

    def palette_of(self, output: Output) -> Future[str]:
        """The code of the palette that its colour photo has, as the networks see it."""
        return self._thread.submit(self._palette_of, output)

    def prepare(self, output: Output) -> Future[Any]:
        """Look at a photo before it is asked for."""
        return self._thread.submit(self._look, output)

    def close(self) -> None:
        """End the thread; what waits is left."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _colorizer(self) -> MergedColorizer:
        if self._models is None:
            from tasks.archive.models import archive_models
            from tasks.graph import stage_slots
            from tasks.jobs.models import load_merged

            slots = replace(stage_slots(self._workflow, "colorize", 1), threads=_threads())
            spec = archive_models(self._workspace, self._workflow, slots)
            self._models = load_merged(replace(spec, uncertainty=False, variants=0))
        return self._models

    def _look(self, output: Output) -> Seen:
        from chromaflow.library.looking import kept_of, look_at
        from storage.pictures.thumbnails import reduce_to

        key = output.facts.sha256
        seen = self._seen.get(key)
        if seen is None:
            photo = first_page(self._pictures.original_bytes(output))
            toning = self._workflow.colorize.toning
            seen = Seen(
                scene=self._colorizer().scene_of(photo.pixels, photo.alpha),
                pixels=reduce_to(photo.pixels, LONGEST),
                size=(photo.header.width, photo.header.height),
                kept=kept_of(look_at(photo), toning),
            )
            self._seen[key] = seen
            while len(self._seen) > _SCENES:
                self._seen.popitem(last=False)
        self._seen.move_to_end(key)
        return seen

    def _preview(
        self, output: Output, palette: str, hints: tuple[Sequence[float], ...], side: int
    ) -> tuple[bytes, str]:
        seen = self._look(output)
        pixels, code = self._colours(seen, palette, hints, side)
        return large_jpeg(pixels), code

    def _colours(
        self, seen: Seen, palette: str, hints: tuple[Sequence[float], ...], side: int
    ) -> tuple[NDArray[np.uint8], str]:
        from colorization.metrics.appearance import colours_of
        from colorization.networks.palette_choice import parse_palette
        from storage.pictures.thumbnails import reduce_to

        if hints:
            self._await_hints(seen)
        choice = parse_palette(palette) if palette else None
        found = self._colorizer().coloured(
            seen.scene, [_hint(hint, seen.size) for hint in hints], choice, seen.field
        )
        return colours_of(reduce_to(seen.pixels, side), found.ab, seen.kept), found.palette

    def _await_hints(self, seen: Seen) -> None:
        """What hints of a photo need and takes most of a second: found while the person still looks."""
        from colorization.merging.hinting import HintField

        seen.field = seen.field or HintField(seen.scene.L[0, 0].float().cpu().numpy())

    def _variants(self, output: Output) -> list[dict[str, Any]]:
        from storage.pictures.thumbnails import small_jpeg

        seen = self._look(output)
        wanted = [("as the run", ""), (MEAN, MEAN)]
        codes = self._colorizer().likeliest(seen.scene, _LIKELIEST)
        if codes:
            wanted += [(LIKELY, LIKELY), *((f"variant {n}", c) for n, c in enumerate(codes, 1))]
        found = []
        for name, palette in wanted:
            pixels, code = self._colours(seen, palette, (), SMALL)
            found.append(
                {"name": name, "palette": palette, "code": code, "jpeg": small_jpeg(pixels)}
            )
        self._thread.submit(self._await_hints, seen)
        return found

    def _palette_of(self, output: Output) -> str:
        from colorization.networks.palette_choice import code_of_palette

        if output.facts.palette:
            return output.facts.palette
        content, _ = self._pictures.colour(output)
        found = self._colorizer().palette_of(eight_bit(first_page(content).pixels))
        return code_of_palette(found.numbers)


def _hint(hint: Sequence[float], size: tuple[int, int]) -> Hint:
    from chromaflow.library.looking import hint_at

    x, y, *rgb = hint
    return hint_at(x, y, tuple(rgb), size)


def _threads() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
