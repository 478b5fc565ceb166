"""IoU as starter_segmenter.py prints it."""

from __future__ import annotations

import math

import torch

from benchmarks.segmenter_training import intersection_over_union


def test_iou_of_hand_made_masks_ignores_unknown_pixels() -> None:
    truth = torch.tensor([[0, 0, 1, 1], [3, 3, 255, 255]])
    predicted = torch.tensor([[0, 1, 1, 1], [3, 0, 3, 2]])
    people, birds, animals, places = intersection_over_union(predicted, truth)
    assert (people, birds, places) == (1 / 3, 2 / 3, 1 / 2)
    assert math.isnan(animals)
