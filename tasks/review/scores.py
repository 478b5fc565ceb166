"""What a reviewer may want to see first, from the small pictures of a run: faults, faces, disagreement.

Heuristics that order photos; no photo is judged by them. They are kept beside the decisions by what was
looked at, so that each photo is scored once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from threading import Event, Thread
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from colorization.colour.lab import rgb_to_lab
from storage.records.ledger import read_json, write_json
from tasks.engine.kept import Output
from tasks.review.photos import Photos, photo_id
from tasks.review.pictures import Pictures

SCORES_NAME = "review-scores.json"
SCORES = ("faults", "seams", "tint", "bleeding", "faces", "disagreement")
_VERSION = 1
_SIDE = 128
"""Long side at which faults are looked for, pixels."""
_FACE_SIDE = 192
_EDGE_L, _EDGE_AB = 6.0, 6.0
"""Differences between neighbours that count as edges, Lab units."""
_SAVED_EVERY = 500
Rgb = NDArray[np.uint8]


def fault_scores(after: Rgb) -> dict[str, float]:
    """How much a coloured photo looks like one gone wrong, 0 (nothing found) to 1, by kind and together.

    after: uint8 (h, w, 3). seams: a row or column with more edges of colour across it than of
    lightness. bleeding: edges of colour away from edges of lightness. tint: one hue over nearly all.
    """
    scale = _SIDE / max(after.shape[:2])
    small = (
        cv2.resize(after, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        if scale < 1
        else after
    )
    lab = rgb_to_lab(np.asarray(small, np.uint8))
    L, ab = lab[0], lab[1:]
    down = np.hypot(*np.diff(ab, axis=1)), np.abs(np.diff(L, axis=0))
    across = np.hypot(*np.diff(ab, axis=2)), np.abs(np.diff(L, axis=1))
    both = ((down, 1), (across, 0))
    loose = [(colour > _EDGE_AB) & (_around(light) < _EDGE_L) for (colour, light), _ in both]
    lines = max(
        float(((colour > _EDGE_AB).mean(axis=along) - (light > _EDGE_L).mean(axis=along)).max())
        for (colour, light), along in both
    )
    edges = sum(int((colour > _EDGE_AB).sum()) for colour, _ in (down, across))
    share = sum(int(one.sum()) for one in loose) / max(edges, L.size // 100)
    chroma = np.hypot(ab[0], ab[1])
    mean = float(chroma.mean())
    along = float(np.hypot(ab[0].mean(), ab[1].mean()))
    tint = max(0.0, along / mean - 0.9) * 10 * min(1.0, mean / 12) if mean > 3 else 0.0
    scores = {
        "seams": min(1.0, max(0.0, 1.5 * lines)),
        "bleeding": min(1.0, 4 * share),
        "tint": min(1.0, tint),
    }
    return {"faults": max(scores.values()), **scores}


def disagreement(pictures: Mapping[str, Rgb]) -> float | None:
    """How far a photo's variants are apart, mean Lab units; None where there are not two."""
    others = [name for name in pictures if name == "after" or name[0] == "v"]
    if len(others) < 2:
        return None
    ab = np.stack([rgb_to_lab(pictures[name])[1:] for name in others])
    return float(np.hypot(*(ab - ab.mean(axis=0)).transpose(1, 0, 2, 3)).mean())


def count_faces(gray: NDArray[np.uint8]) -> int:
    """Faces that look at the camera, uint8 (h, w): scikit-image's cascade of local binary patterns, which
    comes with its wheel. It misses small and turned ones, and sees some where there are none."""
    scale = _FACE_SIDE / max(gray.shape)
    small = np.asarray(cv2.resize(gray, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))
    found = _cascade().detect_multi_scale(
        img=small,
        scale_factor=1.25,
        step_ratio=1.5,
        min_size=(24, 24),
        max_size=(_FACE_SIDE, _FACE_SIDE),
    )
    return len(found)


class Scoring:
    """Scores of an archive's photos, found in the background while nobody waits."""

    def __init__(self, photos: Photos, pictures: Pictures, folder: Path) -> None:
        """folder: where they are kept."""
        self._photos, self._pictures, self._path = photos, pictures, folder / SCORES_NAME
        known = read_json(self._path) or {}
        is_ours = known.get("version") == _VERSION
        self._known: dict[str, dict[str, Any]] = known["photos"] if is_ours else {}
        self._stopped = Event()
        self._thread = Thread(target=self._score_all, name="scoring", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End soon; what was found is kept."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def found(self) -> dict[str, Any]:
        """Of each photo by id; and whether all are scored."""
        scores = {
            id_: known
            for id_, output in self._photos.by_id.items()
            if (known := self._known.get(_key(output)))
        }
        return {"photos": scores, "complete": len(scores) == len(self._photos.by_id)}

    def _score_all(self) -> None:
        num_new = 0
        for output in self._left():
            if self._stopped.is_set():
                break
            self._known[_key(output)] = self._score(output)
            num_new += 1
            if num_new % _SAVED_EVERY == 0:
                self._save()
        if num_new:
            self._save()

    def _left(self) -> Iterator[Output]:
        for output in self._photos.by_id.values():
            if _key(output) not in self._known:
                yield output

    def _score(self, output: Output) -> dict[str, Any]:
        """All zero of a photo without small pictures: full-size ones would take hours."""
        small = self._pictures.small_pair(output)
        if "after" not in small:
            return dict.fromkeys(SCORES)
        read = {
            name: _decoded(jpeg)
            for name, jpeg in small.items()
            if name in ("before", "after") or name[0] == "v"
        }
        faults = {name: round(value, 3) for name, value in fault_scores(read["after"]).items()}
        apart = disagreement(read)
        gray = np.asarray(cv2.cvtColor(read["before"], cv2.COLOR_RGB2GRAY))
        return {
            **faults,
            "faces": count_faces(gray),
            "disagreement": None if apart is None else round(apart, 2),
        }

    def _save(self) -> None:
        value = {"version": _VERSION, "photos": dict(self._known)}
        write_json(self._path, value)


def _around(light: NDArray[np.float32]) -> NDArray[np.float32]:
    """The largest difference within two pixels: colour may miss an edge by so much."""
    return np.asarray(cv2.dilate(light.astype(np.float32), np.ones((5, 5), np.uint8)), np.float32)


@lru_cache(maxsize=1)
def _cascade() -> Any:
    from skimage.data import lbp_frontal_face_cascade_filename
    from skimage.feature import Cascade

    return Cascade(lbp_frontal_face_cascade_filename())


def _decoded(jpeg: bytes) -> Rgb:
    bgr = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


def _key(output: Output) -> str:
    """Of what was looked at."""
    return f"{photo_id(output)}-{output.content[:16]}"
