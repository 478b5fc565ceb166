"""Names on drawings: every script has its letters, and none is an empty box."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from storage.pictures import lettering
from storage.pictures.lettering import draw_text, text_length, undrawn
from storage.pictures.sheets import contact_sheet
from storage.pictures.unshaped import in_drawn_order

NAMES = {
    "Latin": "Łódź Straße Ågren",
    "Greek": "Ελλάδα",
    "Cyrillic": "Ленинград",
    "Arabic": "صورة قديمة",
    "Persian": "پچگژ",
    "Hebrew": "רחוב הרצל",
    "Chinese": "上海外灘老照片",
    "Japanese": "東京駅カメラひらがな",
    "Korean": "서울역사진",
    "Devanagari": "हिन्दी",
    "Thai": "ภาพถ่ายเก่า",
    "Bengali": "বাংলা",
    "Tamil": "தமிழ்",
    "Khmer": "ខ្មែរ",
}


def drawn(text: str, width: int = 300) -> np.ndarray:
    image = Image.new("RGB", (width, 30), (255, 255, 255))
    draw_text(ImageDraw.Draw(image), (4, 4), text, 16, (0, 0, 0), most=width - 8)
    return np.asarray(image.convert("L"))


def darkness(text: str) -> np.ndarray:
    """Ink by column, nine columns together."""
    return np.convolve((255.0 - drawn(text)).sum(axis=0), np.ones(9))


@pytest.mark.parametrize("script", NAMES)
def test_every_letter_is_drawn_as_itself(script: str) -> None:
    name = NAMES[script]
    assert undrawn(name) == []
    assert undrawn(unicodedata.normalize("NFD", name)) == [], "as macOS writes it"
    for part, font in lettering._parts(name, 16):
        nothing = bytes(
            font.getmask("\U0010fffd")
        )  # what a font draws of a character that it has not
        assert all(bytes(font.getmask(c)) != nothing for c in part if c.isalpha())
    assert (drawn(name) < 128).sum() > 20


def test_what_no_font_has_is_its_code_point() -> None:
    assert undrawn("a\U00013000b\u200d\ufe0f") == ["‹U+13000›"]
    assert np.array_equal(drawn("a\U00013000b"), drawn("a‹U+13000›b"))


def test_what_is_too_long_is_cut_where_it_ends() -> None:
    long = drawn("上海" * 60, 300)
    assert (long[:, -4:] == 255).all() and (long < 128).any(axis=0)[250:].any()
    assert text_length("上海", 16) == pytest.approx(32, abs=2)


def test_letters_of_two_directions_stand_as_readers_expect() -> None:
    assert in_drawn_order("abc 12.jpg") == "abc 12.jpg"
    assert in_drawn_order("\u05d0\u05d1 12 (\u05d2).jpg") == "(\u05d2) 12 \u05d1\u05d0.jpg"
    assert in_drawn_order("x \u05d0\u05b8\u05d1") == "x \u05d1\u05d0\u05b8", (
        "marks stay with theirs"
    )
    # beh, reh, lam with alef: initial, final, then isolated as reh joins nothing
    assert in_drawn_order("\u0628\u0631\u0644\u0627") == "\ufefb\ufeae\ufe91"
    assert in_drawn_order("\u0628\u0628\u0628") == "\ufe90\ufe92\ufe91"


@pytest.mark.skipif(not lettering.is_shaped(), reason="FriBidi is not here to compare with")
@pytest.mark.parametrize("name", ["صورة قديمة 1931 (السوق).jpg", "רחוב הרצל 12.jpg", "سلام"])
def test_without_a_shaper_right_to_left_looks_nearly_the_same(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shaped = darkness(name)
    whole, basic = ImageFont.truetype, {"layout_engine": ImageFont.Layout.BASIC}
    with monkeypatch.context() as patched:
        patched.setattr(lettering, "is_shaped", lambda: False)
        patched.setattr(ImageFont, "truetype", lambda file, size: whole(file, size, **basic))
        lettering._open.cache_clear()
        other, backwards = darkness(name), darkness(name[::-1])
    lettering._open.cache_clear()
    alike, turned = (np.corrcoef(shaped, one)[0, 1] for one in (other, backwards))
    assert alike > 0.85 and alike > turned + 0.03


def test_a_sheet_has_names_of_every_script() -> None:
    photo = np.full((20, 30, 3), 90, np.uint8)
    sheet = contact_sheet(("gray", "merged"), [(name, [photo, photo]) for name in NAMES.values()])
    assert sheet.startswith(b"\x89PNG")
