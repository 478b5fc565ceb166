"""What people choose by page and by photo: --pages, --accept-photo, --keep-times, in one chunk."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image
from test_formats import Outcome, colourful, gray, pages_of, tiff

from storage.records.item_record import OutputFacts
from tasks.config.types import parse_pages


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def test_pages_are_parsed():
    assert parse_pages("") == [] and parse_pages("2, 4-6") == [(2, 2), (4, 6)]
    assert parse_pages("3-") == [(3, float("inf"))]
    assert all(parse_pages(wrong) is None for wrong in ("0", "a", "3-2", "1,,2", "1 2", "-2"))


def test_pages_that_are_not_named_are_copied(tmp_path):
    content = tiff(gray(), gray()[::-1], gray()[:, ::-1])
    outcome = Outcome(tmp_path, {"a.tif": content, "b.png": png(gray())}, pages=[(2, 2)])
    first, second, third = pages_of(outcome.path("a.tif").read_bytes())
    assert np.array_equal(first.asarray(), gray()) and second.asarray().shape == (*gray().shape, 3)
    assert np.array_equal(third.asarray(), gray()[:, ::-1])
    facts = OutputFacts.from_dict(outcome.facts["a.tif"])
    told = [(page["page"], page["output"], page["reason"]) for page in facts.pages]
    assert told == [(1, 1, "NOT_CHOSEN"), (3, 3, "NOT_CHOSEN")]
    assert "b.png" in outcome.facts, "a file of one page is no choice"


def test_a_file_of_which_no_page_is_named_is_skipped(tmp_path):
    outcome = Outcome(tmp_path, {"a.tif": tiff(gray(), gray())}, pages=[(3, float("inf"))])
    assert outcome.codes == {"a.tif": "NOT_CHOSEN"}


def test_an_accepted_photo_is_coloured_whatever_it_is(tmp_path):
    contents = {"a.png": png(colourful()), "b.png": png(colourful()[::-1])}
    outcome = Outcome(tmp_path, contents, accepted=("b.png",))
    assert outcome.codes == {"a.png": "ALREADY_COLOR"} and list(outcome.facts) == ["b.png"]


def test_outputs_get_the_times_of_their_originals(tmp_path):
    outcome = Outcome(tmp_path, {"a.png": png(gray())}, keep_times=True, modified=1_000_000_000)
    assert outcome.path("a.png").stat().st_mtime == 1_000_000_000


def test_an_accepted_colour_photo_is_coloured_anew_and_keeps_no_colour(tmp_path):
    contents = {"a.png": png(colourful())}
    outcome = Outcome(tmp_path, contents, accept=("ALREADY_COLOR",))
    facts = OutputFacts.from_dict(outcome.facts["a.png"])
    assert not any("real colour" in note for note in facts.notes)


def test_what_is_transparent_counts_neither_as_gray_nor_as_colour(tmp_path):
    opaque = np.zeros(gray().shape, np.uint8)
    opaque[: len(opaque) // 3] = 255
    in_colour, in_gray = colourful(), np.repeat(gray()[..., None], 3, axis=2)
    hidden = np.where(opaque[..., None] > 0, in_gray, in_colour)
    shown = np.where(opaque[..., None] > 0, in_colour, in_gray)
    contents = {"a.png": png(np.dstack([hidden, opaque])), "b.png": png(np.dstack([shown, opaque]))}
    outcome = Outcome(tmp_path, contents)
    assert outcome.codes == {"b.png": "ALREADY_COLOR"} and list(outcome.facts) == ["a.png"]
