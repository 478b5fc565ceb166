"""Heuristics that order a review: what they see, and what they do not."""

from __future__ import annotations

import numpy as np
from PIL import Image
from skimage import data

from tasks.review.scores import count_faces, disagreement, fault_scores


def picture() -> np.ndarray:
    """A photo in its colours, uint8 (256, 256, 3)."""
    return np.asarray(Image.fromarray(data.astronaut()).resize((256, 256)))


def test_a_photo_has_fewer_faults_than_one_with_a_seam_a_tint_or_stray_colour() -> None:
    plain = picture()
    gray = np.repeat(np.asarray(Image.fromarray(plain).convert("L"))[..., None], 3, axis=2)
    own = fault_scores(plain)
    seam = gray.astype(int)
    seam[:, 128:] += np.array([40, 0, -40])
    tinted = np.clip(gray + np.array([40, 0, -50]), 0, 255).astype(np.uint8)
    stray = gray.astype(int)
    for x, y in ((40, 60), (150, 90), (90, 190)):
        stray[y : y + 40, x : x + 40] += np.array([50, -30, -30])
    assert fault_scores(np.clip(seam, 0, 255).astype(np.uint8))["seams"] > 0.5 > own["seams"]
    assert fault_scores(tinted)["tint"] > 0.5 > own["tint"]
    assert fault_scores(np.clip(stray, 0, 255).astype(np.uint8))["bleeding"] > own["bleeding"]
    assert fault_scores(gray)["faults"] == 0, "no colour, no fault"
    assert all(0 <= value <= 1 for value in own.values())


def test_faces_are_counted_where_one_looks_at_the_camera() -> None:
    astronaut = np.asarray(Image.fromarray(data.astronaut()).convert("L").resize((256, 256)))
    assert count_faces(astronaut) >= 1
    assert count_faces(np.full((200, 256), 128, np.uint8)) == 0


def test_disagreement_is_how_far_variants_are_apart() -> None:
    one = picture()
    other = np.clip(one.astype(int) + np.array([40, 0, -40]), 0, 255).astype(np.uint8)
    assert disagreement({"after": one}) is None
    assert disagreement({"after": one, "v1": one}) == 0
    apart = disagreement({"after": one, "v1": other, "before": one})
    assert apart is not None and apart > 5
