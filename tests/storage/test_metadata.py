"""Metadata of originals in their derivatives, read back by Pillow, tifffile and ElementTree."""

from __future__ import annotations

import io
import struct
import time
import zlib
from dataclasses import replace
from functools import cache
from xml.etree import ElementTree

import imagecodecs
import numpy as np
import pytest
import simplejpeg
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, IptcImagePlugin, PngImagePlugin

from storage.containers.tiff_directories import Layout, TiffWriter
from storage.errors import PhotoError, UsageError
from storage.metadata.derivative import (
    CAPTION,
    Metadata,
    Placement,
    Provenance,
    derivative,
    embed,
    embed_tiff,
    read_metadata,
    xmp_sidecar,
)

RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
DC = "{http://purl.org/dc/elements/1.1/}"
EXT = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}"
OURS = "{http://ns.chromaflow.org/1.0/}"
MUSEUM = "{http://museum.example/1.0/}"
LANGUAGE = "{http://www.w3.org/XML/1998/namespace}lang"

NOTE = b"MAKER" + bytes(range(40))
THUMBNAIL = b"\xff\xd8THUMBNAIL\xff\xd9"
MARKET = "Market, Lviv"
PROVENANCE = Provenance(
    system="Chromaflow",
    version="1.2.3",
    original_sha256="ab" * 32,
    checkpoints=(("people", "cd" * 32), ("places", "ef" * 32)),
    note="The original is truncated.",
)
XMP = f"""<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{RDF[1:-1]}">
<rdf:Description rdf:about="uuid:7" xmlns:m="{MUSEUM[1:-1]}" m:shelf="A &amp; B"
 xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"
 xmlns:xmpNote="http://ns.adobe.com/xmp/note/" xmpNote:HasExtendedXMP="0123"/>
<rdf:Description rdf:about="uuid:7" xmlns:dc="{DC[1:-1]}" xmlns:m="{MUSEUM[1:-1]}"
 xmlns:xmp="http://ns.adobe.com/xap/1.0/">
<dc:description><rdf:Alt><rdf:li xml:lang="x-default">Market, Lviv</rdf:li>
<rdf:li xml:lang="uk">Ринок, Львів</rdf:li></rdf:Alt></dc:description>
<m:box><rdf:Bag><rdf:li>1</rdf:li><rdf:li>2 &lt; 3</rdf:li></rdf:Bag></m:box>
<xmp:Thumbnails><rdf:Alt><rdf:li>AAAA</rdf:li></rdf:Alt></xmp:Thumbnails>
</rdf:Description></rdf:RDF></x:xmpmeta>
<?xpacket end="w"?>""".encode()
IPTC = b"\x1c\x01\x5a\0\3\x1b%G" + b"".join(
    b"\x1c\x02" + bytes([number]) + struct.pack(">H", len(text)) + text
    for number, text in ((25, b"market"), (80, b"Anna"), (120, MARKET.encode()), (122, b"Oleh"))
)
RESOURCES = (
    b"8BIM\x04\x25\x03abc\0\0\0\x0212" + b"8BIM\x04\x04\0\0" + struct.pack(">I", len(IPTC)) + IPTC
) + bytes(len(IPTC) % 2)
FORMATS = ["JPEG", "PNG", "WEBP", "TIFF<", "TIFF>", "TIFF<big", "TIFF>big"]


class Tiff:
    """A second, naive writer of TIFF directories. Entries: tag → (type, bytes) or a directory."""

    def __init__(self, order: str = "<", big: bool = False) -> None:
        self.order, self.big = order, big
        mark = b"II" if order == "<" else b"MM"
        self.pointer = order + ("Q" if big else "I")
        head = struct.pack(order + "HHH", 43, 8, 0) if big else struct.pack(order + "H", 42)
        self.content = bytearray(mark + head)
        self.last = len(self.content)
        self.content += bytes(struct.calcsize(self.pointer))

    def append(self, data: bytes) -> int:
        self.content += bytes(-len(self.content) % 8)
        self.content += data
        return len(self.content) - len(data)

    def page(self, entries: dict) -> None:
        place, end = self.directory(entries)
        struct.pack_into(self.pointer, self.content, self.last, place)
        self.last = end

    def directory(self, entries: dict) -> tuple[int, int]:
        sizes = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 7: 1, 16: 8}
        width, table = struct.calcsize(self.pointer), b""
        for tag, entry in sorted(entries.items()):
            if isinstance(entry, dict):
                entry = (16 if self.big else 4, self.pack(self.pointer, self.directory(entry)[0]))
            kind, data = entry
            field = data if len(data) <= width else self.pack(self.pointer, self.append(data))
            count = struct.pack(self.pointer, len(data) // sizes[kind])
            table += struct.pack(self.order + "HH", tag, kind) + count + field.ljust(width, b"\0")
        head = struct.pack(self.order + ("Q" if self.big else "H"), len(entries))
        place = self.append(head + table + bytes(width))
        return place, len(self.content) - width

    def pack(self, form: str, *numbers: int) -> bytes:
        return struct.pack(self.order + form.lstrip("<>"), *numbers)


def tags(tiff: Tiff, description: str = MARKET) -> dict:
    pack = tiff.pack
    return {
        0x10E: (2, description.encode() + b"\0"),
        0x10F: (2, b"Kodak\0"),
        0x112: (3, pack("H", 6)),
        0x11A: (5, pack("II", 600, 2)),
        0x11B: (5, pack("II", 600, 2)),
        0x128: (3, pack("H", 2)),
        0x9C9B: (1, "Title".encode("utf-16-le") + b"\0\0"),
        0x8769: {
            0x9003: (2, b"1923:05:17 12:00:00\0"),
            0x829A: (5, pack("II", 1, 250)),
            0x9286: (7, b"ASCII\0\0\0hand-coloured?"),
            0x927C: (7, NOTE),
            0xA005: {1: (2, b"R98\0")},
        },
        0x8825: {1: (2, b"N\0"), 2: (5, pack("6I", 49, 1, 50, 1, 2463, 100))},
    }


def exif_structure(order: str = ">", **changes) -> bytes:
    tiff = Tiff(order)
    tiff.page(tags(tiff) | changes.get("main", {}))
    thumbnail = tiff.append(THUMBNAIL)
    tiff.page({513: (4, tiff.pack("I", thumbnail)), 514: (4, tiff.pack("I", len(THUMBNAIL)))})
    return bytes(tiff.content)


def picture(channels: int = 3) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (24, 32, channels), np.uint8)


def saved(image: Image.Image, name: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, name, **options)
    return buffer.getvalue()


@cache
def profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def gray() -> Image.Image:
    return Image.fromarray(picture()[..., 0])


def original_jpeg() -> bytes:
    content = saved(
        gray(), "JPEG", exif=b"Exif\0\0" + exif_structure(), xmp=XMP, icc_profile=profile(),
        dpi=(300, 300), comment="from the attic",
    )  # fmt: skip
    data = b"Photoshop 3.0\0" + RESOURCES
    return content[:2] + b"\xff\xed" + struct.pack(">H", len(data) + 2) + data + content[2:]


def original_png() -> bytes:
    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", XMP.decode(), zip=True)
    info.add_text(
        "Raw profile type iptc", f"\niptc\n{len(RESOURCES)}\n{RESOURCES.hex()}\n", zip=True
    )
    info.add_text("Author", "Zoë", zip=True)
    info.add_itxt("Title", "Ринок")
    return saved(
        gray(), "PNG", exif=exif_structure(), dpi=(300, 300), icc_profile=profile(), pnginfo=info
    )


def original_webp() -> bytes:
    exif = b"Exif\0\0" + exif_structure()
    return saved(gray().convert("RGB"), "WEBP", exif=exif, xmp=XMP, icc_profile=profile())


def original_tiff(order: str, big: bool) -> bytes:
    tiff, pixels = Tiff(order, big), picture()[..., 0]
    for page in range(2):
        strip = tiff.append(pixels.tobytes())
        numbers = {256: 32, 257: 24, 258: 8, 259: 1, 262: 1, 277: 1, 278: 24}
        entries = {tag: (3, tiff.pack("H", number)) for tag, number in numbers.items()}
        entries |= {273: (4, tiff.pack("I", strip)), 279: (4, tiff.pack("I", pixels.size))}
        entries |= {700: (1, XMP), 33723: (7, IPTC), 34675: (7, profile())}
        entries |= {285: (2, b"leaf %d\0" % page), 297: (3, tiff.pack("HH", page, 2))}
        tiff.page(entries | tags(tiff, MARKET if page == 0 else "Verso"))
    return bytes(tiff.content)


@cache
def original(name: str) -> bytes:
    if name.startswith("TIFF"):
        return original_tiff(name[4], name.endswith("big"))
    return {"JPEG": original_jpeg, "PNG": original_png, "WEBP": original_webp}[name]()


def encoded_tiff(order: str, big: bool, num_pages: int = 2) -> io.BytesIO:
    file = io.BytesIO()
    with tifffile.TiffWriter(file, byteorder=order, bigtiff=big) as writer:
        for _ in range(num_pages):
            writer.write(
                picture(), photometric="rgb", compression="zlib", metadata=None, resolution=(300, 300),
                resolutionunit="INCH", software="Chromaflow", iccprofile=profile(),
            )  # fmt: skip
    return file


def derived(name: str, page: int = 0) -> Metadata:
    return derivative(read_metadata(name[:4], original(name), page), PROVENANCE)


def embedded(name: str, metadata: Metadata, **options) -> Image.Image:
    encoded = saved(Image.fromarray(picture()), name, **options)
    content = embed(name, encoded, metadata, profile=profile())
    image = Image.open(io.BytesIO(content))
    image.load()
    np.testing.assert_array_equal(image, Image.open(io.BytesIO(encoded)))
    return image


def blocks(packet: bytes) -> list[ElementTree.Element]:
    return ElementTree.fromstring(packet).findall(f".//{RDF}Description")


def found(packet: bytes, name: str) -> list[ElementTree.Element]:
    return ElementTree.fromstring(packet).findall(f".//{name}")


def captions(packet: bytes) -> dict[str, str]:
    items = found(packet, f"{DC}description/{RDF}Alt/{RDF}li")
    return {item.attrib[LANGUAGE]: item.text for item in items}


def check_labels(packet: bytes) -> None:
    texts = {
        child.tag: child.text for block in blocks(packet) for child in block if len(child) == 0
    }
    assert texts[f"{EXT}DigitalSourceType"] == (
        "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
    )
    assert texts[f"{EXT}AISystemUsed"] == "Chromaflow"
    assert texts[f"{EXT}AISystemVersionUsed"] == "1.2.3"
    assert texts[f"{OURS}OriginalSHA256"] == "ab" * 32
    assert texts[f"{OURS}Note"] == "The original is truncated."
    items = found(packet, f"{OURS}Checkpoints/{RDF}Bag/{RDF}li")
    assert [item.text for item in items] == [
        f"people sha256:{'cd' * 32}",
        f"places sha256:{'ef' * 32}",
    ]


def check_xmp(packet: bytes, caption: str = MARKET) -> None:
    check_labels(packet)
    assert captions(packet) == {
        "x-default": f"{caption} | {CAPTION}",
        "uk": f"Ринок, Львів | {CAPTION}",
    }
    attributes = {k: v for block in blocks(packet) for k, v in block.attrib.items()}
    assert attributes[f"{MUSEUM}shelf"] == "A & B"
    assert attributes["{http://ns.adobe.com/tiff/1.0/}Orientation"] == "1"
    assert "{http://ns.adobe.com/xmp/note/}HasExtendedXMP" not in attributes
    assert {block.attrib[f"{RDF}about"] for block in blocks(packet)} == {"uuid:7"}
    assert [item.text for item in found(packet, f"{MUSEUM}box/{RDF}Bag/{RDF}li")] == ["1", "2 < 3"]
    assert not found(packet, "{http://ns.adobe.com/xap/1.0/}Thumbnails")
    assert b"xmlns:m=" in packet


def check_exif(exif: Image.Exif) -> None:
    assert exif[0x112] == 1
    assert exif[0x10F] == "Kodak"
    assert exif[0x10E] == f"{MARKET} | {CAPTION}"
    assert exif[0x9C9B] == "Title".encode("utf-16-le") + b"\0\0"
    photo, gps = exif.get_ifd(0x8769), exif.get_ifd(0x8825)
    assert photo[0x9003] == "1923:05:17 12:00:00"
    assert photo[0x829A] == 0.004
    assert photo[0x9286] == b"ASCII\0\0\0hand-coloured?"
    assert photo[0x927C] == NOTE
    assert gps == {1: "N", 2: (49.0, 50.0, 24.63)}
    assert exif.get_ifd(0xA005) == {1: "R98"}
    assert not exif.get_ifd(1)


@pytest.mark.parametrize("name", FORMATS)
def test_every_part_of_an_original_is_read(name):
    metadata = read_metadata(name[:4], original(name))
    assert metadata.exif[:2] == (b"II" if "<" in name else b"MM")
    assert metadata.iptc == (b"" if name == "WEBP" else IPTC)
    assert metadata.xmp == XMP
    assert metadata.profile == profile()
    assert metadata.dpi == pytest.approx((300, 300), abs=0.01)
    texts = {
        "JPEG": (("Comment", "from the attic"),),
        "PNG": (("Author", "Zoë"), ("Title", "Ринок")),
    }
    assert metadata.text == texts.get(name, ())


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP"])
def test_a_derivative_carries_the_originals_metadata(name):
    image = embedded(name, derived(name))
    check_exif(image.getexif())
    check_xmp(image.info["xmp"])
    assert image.info["icc_profile"] == profile()
    if name != "WEBP":
        assert image.info["dpi"] == pytest.approx((300, 300), abs=0.01)


def test_a_jpegs_iptc_comment_and_density():
    image = embedded("JPEG", derived("JPEG"), quality=95)
    iptc = IptcImagePlugin.getiptcinfo(image)
    assert iptc[(2, 120)] == f"{MARKET} | {CAPTION}".encode()
    assert (iptc[(2, 25)], iptc[(2, 80)], iptc[(2, 122)]) == (b"market", b"Anna", b"Oleh")
    assert image.info["comment"] == b"from the attic"
    assert (image.info["jfif_density"], image.info["jfif_unit"]) == ((300, 300), 1)
    assert THUMBNAIL in original("JPEG")
    assert THUMBNAIL not in derived("JPEG").exif


def test_a_pngs_texts_and_iptc():
    image = embedded("PNG", derived("PNG"))
    assert (image.text["Author"], image.text["Title"]) == ("Zoë", "Ринок")
    raw = bytes.fromhex(image.text["Raw profile type iptc"].split("\n", 3)[3])
    assert f"{MARKET} | {CAPTION}".encode() in raw
    content = embed("PNG", saved(gray(), "PNG"), derived("PNG"), profile=profile())
    again = read_metadata("PNG", content)
    assert replace(again, profile=b"", dpi=None) == replace(derived("PNG"), dpi=None)


@pytest.mark.parametrize("name", [name for name in FORMATS if name.startswith("TIFF")])
@pytest.mark.parametrize(("order", "big"), [("<", False), (">", False), ("<", True), (">", True)])
def test_a_tiff_carries_the_metadata_of_each_page(name, order, big):
    file = encoded_tiff(order, big)
    embed_tiff(file, [derived(name, page) for page in range(2)])
    with tifffile.TiffFile(file) as tiff:
        assert (tiff.byteorder, tiff.is_bigtiff, len(tiff.pages)) == (order, big, 2)
        for number, page in enumerate(tiff.pages):
            caption = MARKET if number == 0 else "Verso"
            np.testing.assert_array_equal(page.asarray(), picture())
            said = {tag.code: tag.value for tag in page.tags}
            assert said[270] == f"{caption} | {CAPTION}"
            assert (said[271], said[285], said[297]) == ("Kodak", f"leaf {number}", (number, 2))
            assert (said[305], said[282], 274 in said) == ("Chromaflow", (300, 1), False)
            assert bytes(said[0x9C9B]) == "Title".encode("utf-16-le") + b"\0\0"
            assert said[34675] == profile()
            check_xmp(said[700])
            assert f"{MARKET} | {CAPTION}".encode() in bytes(said[33723])
            photo, gps = said[34665], said[34853]
            assert photo["DateTimeOriginal"] == "1923:05:17 12:00:00"
            assert photo["ExposureTime"] == (1, 250)
            assert bytes(photo["MakerNote"]) == NOTE
            assert gps["GPSLatitude"] == (49, 1, 50, 1, 2463, 100)
            assert list(said) == sorted(said)


def test_pillow_reads_the_tiff_too():
    file = encoded_tiff("<", False, 1)
    embed_tiff(file, [derived("JPEG")])
    image = Image.open(file)
    assert IptcImagePlugin.getiptcinfo(image)[(2, 120)] == f"{MARKET} | {CAPTION}".encode()
    exif = image.getexif()
    exif[0x112] = exif.get(0x112, 1)
    check_exif(exif)
    np.testing.assert_array_equal(image, picture())


def test_a_tiff_on_disk_is_edited_in_place(tmp_path):
    path = tmp_path / "large.tif"
    path.write_bytes(encoded_tiff("<", True).getvalue())
    before = path.read_bytes()
    with path.open("r+b") as file:
        embed_tiff(file, [derived("TIFF<")])
    after = path.read_bytes()
    assert after[16 : len(before)] == before[16:]
    with tifffile.TiffFile(path) as tiff:
        assert [700 in page.tags for page in tiff.pages] == [True, False]


def test_more_metadata_than_pages_is_refused():
    with pytest.raises(UsageError, match="at most 2 pages, got 3"):
        embed_tiff(encoded_tiff("<", False), [Metadata()] * 3)


@pytest.mark.parametrize("name", FORMATS)
def test_deriving_twice_changes_nothing(name):
    once = derived(name)
    assert derivative(once, PROVENANCE) == once
    assert not once.profile
    assert once.exif.count(CAPTION.encode()) == 1


@pytest.mark.parametrize("options", [{}, {"lossless": True}, {"icc_profile": b""}])
@pytest.mark.parametrize("channels", [3, 4])
def test_a_webp_of_each_kind_stays_whole(options, channels):
    encoded = saved(Image.fromarray(picture(channels)), "WEBP", **options)
    content = embed("WEBP", encoded, derived("WEBP"), profile=profile())
    assert embed("WEBP", content, derived("WEBP"), profile=profile()) == content
    image = Image.open(io.BytesIO(content))
    assert image.mode == ("RGBA" if channels == 4 else "RGB")
    np.testing.assert_array_equal(image, Image.open(io.BytesIO(encoded)))
    check_exif(image.getexif())


def test_what_the_encoders_write_stays_decodable():
    deep = picture().astype(np.uint16) * 257
    png = embed("PNG", bytes(imagecodecs.png_encode(deep)), derived("PNG"), profile=profile())
    np.testing.assert_array_equal(imagecodecs.png_decode(png), deep)
    encoded = simplejpeg.encode_jpeg(np.ascontiguousarray(picture()), quality=95)
    jpeg = embed("JPEG", encoded, derived("JPEG"), profile=profile() * 200)
    np.testing.assert_array_equal(simplejpeg.decode_jpeg(jpeg), simplejpeg.decode_jpeg(encoded))
    assert Image.open(io.BytesIO(jpeg)).info["icc_profile"] == profile() * 200


@pytest.mark.parametrize("name", ["JPEG", "PNG"])
def test_embedding_twice_replaces(name):
    once = embed(name, saved(gray(), name), derived(name), profile=profile())
    assert embed(name, once, derived(name), profile=profile()) == once


def test_a_maker_note_keeps_its_place():
    content = exif_structure()
    after = derivative(Metadata(exif=content), PROVENANCE).exif
    assert after.index(NOTE) == content.index(NOTE)


def test_a_packet_in_shorthand_keeps_its_names():
    packet = f"""<r:RDF xmlns:r="{RDF[1:-1]}" xmlns="urn:plain" xmlns:dc="urn:alien">
    <r:Description r:about="" xmlns:d="{DC[1:-1]}" d:description="Old &quot;caption&quot;"
     xmlns:i="{EXT[1:-1]}" i:DigitalSourceType="digitalCapture"><kept dc:too="&#10;x&#13;"/>
    </r:Description></r:RDF>"""
    after = derivative(Metadata(xmp=packet.encode()), PROVENANCE).xmp
    check_labels(after)
    assert captions(after) == {"x-default": f'Old "caption" | {CAPTION}'}
    assert found(after, "{urn:plain}kept")[0].attrib == {"{urn:alien}too": "\nx\r"}
    assert b"digitalCapture" not in after
    assert derivative(Metadata(xmp=after), PROVENANCE).xmp == after


def described(*items: str) -> bytes:
    """A packet whose dc:description has these languages."""
    return f"""<r:RDF xmlns:r="{RDF[1:-1]}" xmlns:dc="{DC[1:-1]}"><r:Description r:about="">
    <dc:description><r:Alt>{"".join(items)}</r:Alt></dc:description>
    </r:Description></r:RDF>""".encode()


def test_every_language_of_the_caption_is_suffixed_once():
    languages = ("en", "Market"), ("uk", f"Ринок | {CAPTION}"), ("de", " ")
    items = (f'<r:li xml:lang="{name}">{text}</r:li>' for name, text in languages)
    once = derivative(Metadata(xmp=described(*items), iptc=IPTC), PROVENANCE).xmp
    assert captions(once) == {
        "x-default": f"Market | {CAPTION}",
        "en": f"Market | {CAPTION}",
        "uk": f"Ринок | {CAPTION}",
        "de": CAPTION,
    }
    assert derivative(Metadata(xmp=once), PROVENANCE).xmp == once


def test_a_caption_of_nested_elements_is_suffixed_as_text():
    item = '<r:li xml:lang="uk">Ринок<b>, Львів</b></r:li>'
    after = derivative(Metadata(xmp=described(item)), PROVENANCE).xmp
    assert set(captions(after).values()) == {f"Ринок, Львів | {CAPTION}"}


def sized_exif(order: str, index: bytes = b"R03\0") -> bytes:
    """Of an Adobe RGB photo whose EXIF tells its size, one side as SHORT."""
    pack = Tiff(order).pack
    photo = {
        0xA001: (3, pack("H", 0xFFFF)),
        0xA002: (3, pack("H", 640)),
        0xA003: (4, pack("I", 480)),
        0xA005: {1: (2, index), 2: (7, b"0100")},
        0x829A: (5, pack("II", 1, 250)),
    }
    return exif_structure(order, main={0x8769: photo})


def upright(width: int, height: int) -> Placement:
    return Placement(orientation=1, photo=(width, height), size=(width, height))


def photo_and_interop(exif: bytes) -> tuple[dict, dict]:
    read = Image.open(io.BytesIO(jpeg_with(exif))).getexif()
    return read.get_ifd(0x8769), read.get_ifd(0xA005)


@pytest.mark.parametrize("order", ["<", ">"])
def test_exif_tells_the_derivatives_size_and_srgb(order):
    metadata = Metadata(exif=sized_exif(order))
    after = derivative(metadata, PROVENANCE, placement=upright(70_000, 333))
    photo, interop = photo_and_interop(after.exif)
    assert {tag: photo[tag] for tag in (0xA001, 0xA002, 0xA003, 0x829A)} == {
        0xA001: 1,
        0xA002: 70_000,
        0xA003: 333,
        0x829A: 0.004,
    }
    assert interop == {1: "R98", 2: b"0100"}
    assert derivative(after, PROVENANCE, placement=upright(70_000, 333)) == after


def test_exif_is_left_as_it_was_without_a_size():
    photo, interop = photo_and_interop(derivative(Metadata(exif=sized_exif("<")), PROVENANCE).exif)
    assert [photo[tag] for tag in (0xA001, 0xA002, 0xA003)] == [0xFFFF, 640, 480]
    assert interop[1] == "R03"


def test_no_size_or_colour_space_is_invented():
    metadata = Metadata(exif=exif_structure())
    assert derivative(metadata, PROVENANCE, placement=upright(9, 9)) == derivative(
        metadata, PROVENANCE
    )
    thumbnail = derivative(
        Metadata(exif=sized_exif("<", b"THM\0")), PROVENANCE, placement=upright(9, 9)
    )
    assert photo_and_interop(thumbnail.exif)[1][1] == "THM"
    bare = derivative(Metadata(xmp=XMP), PROVENANCE, placement=upright(9, 9))
    assert bare == derivative(Metadata(xmp=XMP), PROVENANCE)


@pytest.mark.parametrize(("order", "big"), [("<", False), (">", False), ("<", True), (">", True)])
def test_a_tiff_tells_its_size_in_its_own_byte_order(order, big):
    file = encoded_tiff(order, big, 1)
    metadata = Metadata(exif=sized_exif(">"))
    embed_tiff(file, [derivative(metadata, PROVENANCE, placement=upright(32, 24))])
    with tifffile.TiffFile(file) as tiff:
        said = tiff.pages[0].tags[34665].value
    assert (said["ColorSpace"], said["PixelXDimension"], said["PixelYDimension"]) == (1, 32, 24)


@pytest.mark.parametrize("order", ["<", ">"])
def test_iptc_of_older_tiffs_is_read(order):
    tiff, padded = Tiff(order), IPTC + bytes(-len(IPTC) % 4)
    tiff.page({33723: (4, b"".join(padded[i : i + 4][::-1] for i in range(0, len(padded), 4)))})
    tiff.page({34377: (7, RESOURCES)})
    assert [read_metadata("TIFF", bytes(tiff.content), page).iptc for page in (0, 1)] == [IPTC] * 2


def test_a_classic_tiff_ends_at_4_gib():
    writer = TiffWriter(io.BytesIO(), Layout("<", big=False), end=2**32 - 64)
    with pytest.raises(ValueError, match="at most 4 GiB"):
        writer.reserve(100)


def test_no_exif_and_no_iptc_are_invented():
    metadata = derivative(Metadata(dpi=(72.0, 72.0)), PROVENANCE)
    assert (metadata.exif, metadata.iptc, metadata.dpi) == (b"", b"", (72.0, 72.0))
    check_labels(xmp_sidecar(metadata))
    assert captions(metadata.xmp) == {"x-default": CAPTION}


def test_a_new_packet_takes_the_caption_of_iptc_or_exif():
    for metadata in (Metadata(iptc=IPTC), Metadata(exif=exif_structure())):
        packet = derivative(metadata, PROVENANCE).xmp
        assert captions(packet) == {"x-default": f"{MARKET} | {CAPTION}"}


@pytest.mark.parametrize("caption", ["", "   ", '{"shape": [24, 32]}', "ImageJ=1.54f\nimages=2"])
def test_a_caption_that_says_nothing_is_replaced(caption):
    exif = exif_structure(main={0x10E: (2, caption.encode() + b"\0")})
    after = derivative(Metadata(exif=exif), PROVENANCE).exif
    assert Image.open(io.BytesIO(jpeg_with(after))).getexif()[0x10E] == CAPTION


def jpeg_with(exif: bytes) -> bytes:
    return embed("JPEG", saved(gray(), "JPEG"), Metadata(exif=exif), profile=b"")


def test_parts_too_long_for_jpeg_are_cut():
    note = {0x8769: {0x927C: (7, bytes(70_000)), 0x9003: (2, b"1923:05:17 12:00:00\0")}}
    exif = Image.open(io.BytesIO(jpeg_with(exif_structure(main=note)))).getexif()
    assert exif[0x10F] == "Kodak"
    assert dict(exif.get_ifd(0x8769)) == {0x9003: "1923:05:17 12:00:00"}
    wordy = XMP.replace(b"AAAA", b"A").replace(b"2 &lt; 3", b"3" * 70_000)
    packet = derivative(Metadata(xmp=wordy, iptc=IPTC * 700), PROVENANCE)
    image = embedded("JPEG", replace(packet, iptc=packet.iptc))
    check_labels(image.info["xmp"])
    assert b"museum" not in image.info["xmp"]
    with pytest.raises(UsageError, match="labels of at most"):
        note = derivative(Metadata(), replace(PROVENANCE, note="n" * 70_000))
        embedded("JPEG", note)


def test_a_long_iptc_spans_segments():
    datasets = b"\x1c\x02\x7a\x80\x04" + struct.pack(">I", 100_000) + b"w" * 100_000 + IPTC
    metadata = derivative(Metadata(iptc=datasets), PROVENANCE)
    content = embed("JPEG", saved(gray(), "JPEG"), metadata, profile=b"")
    assert read_metadata("JPEG", content).iptc == metadata.iptc


def test_an_alien_format_or_file_is_refused():
    with pytest.raises(
        UsageError, match="expected one of JPEG, PNG, WEBP, JPEG2000, JXL, got 'GIF'"
    ):
        embed("GIF", b"", Metadata(), profile=b"")
    for name in ("JPEG", "PNG", "WEBP"):
        with pytest.raises(PhotoError, match="expected a"):
            embed(name, b"GIF89a", Metadata(), profile=b"")
    with pytest.raises(UsageError, match="expected the metadata of a derivative"):
        xmp_sidecar(Metadata())


def test_other_formats_are_read_by_pillow():
    assert read_metadata("BMP", saved(gray(), "BMP", dpi=(300, 300))).dpi == pytest.approx(
        (300, 300), abs=0.02
    )
    avif = saved(gray(), "AVIF", exif=exif_structure(), xmp=XMP)
    assert read_metadata("AVIF", avif).xmp == XMP
    assert b"Kodak" in read_metadata("AVIF", avif).exif
    assert read_metadata("JXL", b"\xff\x0a") == Metadata()


def test_a_pngs_gamma_counts_without_a_profile():
    plain = saved(gray(), "PNG")
    gamma = plain[:33] + chunk(b"gAMA", struct.pack(">I", 45455)) + plain[33:]
    assert read_metadata("PNG", gamma).gamma == pytest.approx(0.45455)
    srgb = gamma[:33] + chunk(b"sRGB", b"\0") + gamma[33:]
    assert read_metadata("PNG", srgb).gamma is None


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def looped_tiff() -> bytes:
    tiff = Tiff()
    tiff.page({0x10F: (2, b"Kodak\0")})
    struct.pack_into("<I", tiff.content, tiff.last, struct.unpack_from("<I", tiff.content, 4)[0])
    return bytes(tiff.content)


def png_bomb() -> bytes:
    bomb = zlib.compress(bytes(200 << 20), 9)
    plain = saved(gray(), "PNG")
    text = chunk(b"iTXt", b"Bomb\0\1\0\0\0" + bomb)
    return plain[:33] + text * 20 + chunk(b"iCCP", b"x\0\0" + bomb) + plain[33:]


def xml_jpeg(packet: bytes) -> bytes:
    data = b"http://ns.adobe.com/xap/1.0/\0" + packet
    return b"\xff\xd8\xff\xe1" + struct.pack(">H", len(data) + 2) + data + saved(gray(), "JPEG")[2:]


LAUGHS = b'<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><x:xmpmeta xmlns:x="adobe:ns:meta/">&b;</x:xmpmeta>'
HOSTILE = {
    "truncated EXIF": lambda: ("JPEG", b"\xff\xd8\xff\xe1\0\x20Exif\0\0" + exif_structure()[:24] + b"\xff\xd9"),
    "EXIF far away": lambda: ("WEBP", original("WEBP").replace(exif_structure()[:8], b"MM\0*\xff\xff\xff\xf0")),
    "looped pages": lambda: ("TIFF", looped_tiff()),
    "document type": lambda: ("JPEG", xml_jpeg(LAUGHS)),
    "deep XML": lambda: ("JPEG", xml_jpeg(b"<a>" * 15_000)),
    "bomb": lambda: ("PNG", png_bomb()),
    "lying APP13": lambda: ("JPEG", original("JPEG").replace(struct.pack(">I", len(IPTC)) + IPTC, b"\xff\xff\xff\xff" + IPTC)),
    "lying IIM": lambda: ("JPEG", original("JPEG").replace(b"\x1c\x02\x19\0\6", b"\x1c\x02\x19\xff\xff")),
    "fill bytes": lambda: ("JPEG", b"\xff\xd8" + b"\xff" * 50_000_000),
    "empty chunks": lambda: ("PNG", original("PNG")[:33] + chunk(b"tEXt", b"") * 1_000_000),
    "no entries end": lambda: ("TIFF", b"II*\0\x08\0\0\0\xff\xff" + bytes(100)),
    "alien AVIF": lambda: ("AVIF", b"\0\0\0\x1cftypavif" + bytes(100)),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_metadata_is_dropped_in_time(case):
    name, content = HOSTILE[case]()
    start = time.process_time()
    metadata = read_metadata(name, content, 5 if case == "looped pages" else 0)
    check_labels(derivative(metadata, PROVENANCE).xmp)
    assert time.process_time() - start < 1
    assert not metadata.iptc.startswith(b"\x1c\x02\x19")
    if case not in ("lying APP13", "lying IIM", "EXIF far away"):
        assert bool(metadata.lost) == (case not in ("fill bytes", "empty chunks"))
        assert " at 0x" not in str(metadata.lost)
        metadata = replace(metadata, lost=())
        assert metadata in (Metadata(), Metadata(dpi=metadata.dpi))


def test_a_document_type_is_refused_in_a_derivative_too():
    packet = derivative(Metadata(xmp=LAUGHS), PROVENANCE).xmp
    assert b"ha" not in packet.replace(b"chromaflow", b"").replace(b"sha256", b"")
    check_labels(packet)


@given(content=st.binary(max_size=400), name=st.sampled_from(["JPEG", "PNG", "WEBP", "TIFF"]))
@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
def test_random_bytes_never_raise(content, name):
    starts = {"JPEG": b"\xff\xd8\xff\xe1\0\x80Exif\0\0II*\0", "PNG": original("PNG")[:33]}
    starts |= {"WEBP": b"RIFF\0\1\0\0WEBPEXIF", "TIFF": b"MM\0*\0\0\0\x08"}
    derivative(read_metadata(name, starts[name] + content), PROVENANCE)
    derivative(Metadata(exif=content, iptc=content, xmp=content), PROVENANCE)


@given(data=st.data(), name=st.sampled_from(FORMATS))
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_damaged_file_never_raises(data, name):
    content = bytearray(original(name))
    places = st.integers(0, len(content) - 1)
    for place, byte in data.draw(st.lists(st.tuples(places, st.integers(0, 255)), max_size=20)):
        content[place] = byte
    metadata = derivative(
        read_metadata(name[:4], bytes(content[: data.draw(st.none() | places)])), PROVENANCE
    )
    check_labels(metadata.xmp)
    embed_tiff(encoded_tiff("<", False, 1), [metadata])
    embedded("JPEG", metadata)


def lied_about(name: str, count: int) -> bytes:
    """A photo whose EXIF tells of more entries in its first directory than there are."""
    content = bytearray(original(name))
    start = content.index(exif_structure()[:8])
    first = start + struct.unpack(">I", exif_structure()[4:8])[0]
    content[first : first + 2] = struct.pack(">H", count)
    return bytes(content)


@pytest.mark.parametrize("name", FORMATS)
def test_of_a_whole_photo_nothing_is_lost(name):
    assert read_metadata(name.partition("<")[0].partition(">")[0], original(name)).lost == ()


@pytest.mark.parametrize("count", [60_000, 5000, 4000])
@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP"])
def test_of_an_exif_that_tells_too_many_entries_the_true_ones_are_kept(name, count):
    whole, found = read_metadata(name, original(name)), read_metadata(name, lied_about(name, count))
    assert (found.iptc, found.xmp, found.profile) == (whole.iptc, whole.xmp, whole.profile)
    assert len(found.lost) == 1 and f"expected {count} entries" in found.lost[0]
    before = Image.Exif()
    before.load(b"Exif\0\0" + derivative(whole, PROVENANCE).exif)
    after = Image.Exif()
    after.load(b"Exif\0\0" + derivative(found, PROVENANCE).exif)
    assert len(before) > 2 and dict(after) == dict(before)
    assert dict(after.get_ifd(0x8769)) == dict(before.get_ifd(0x8769))


def test_of_a_directory_with_one_bad_value_the_others_are_kept():
    content = exif_structure()
    place = content.index(struct.pack(">HH", 271, 2))  # Make: ASCII
    broken = content[: place + 4] + struct.pack(">I", 1 << 30) + content[place + 8 :]
    jpeg = original("JPEG").replace(content, broken)
    found = read_metadata("JPEG", jpeg)
    assert len(found.lost) == 1 and "271 Make" in found.lost[0]
    kept = Image.Exif()
    kept.load(b"Exif\0\0" + derivative(found, PROVENANCE).exif)
    assert 271 not in kept and len(kept) > 2


@pytest.mark.parametrize(
    ("part", "harm"),
    [
        ("XMP", lambda c: c.replace(b"</rdf:RDF>", b"</rdf:RDX>")),
        ("IPTC", lambda c: c.replace(b"\x1c\x02\x50\0\4Anna", b"\x1c\x02\x50\xff\xffAnna")),
        ("ICC profile", lambda c: c.replace(b"ICC_PROFILE\0\1\1", b"ICC_PROFILE\0\1\2")),
        ("EXIF", lambda c: c.replace(exif_structure()[:8], b"MM\0*\xff\xff\xff\x08")),
    ],
)  # fmt: skip
def test_each_part_stands_or_falls_alone_and_says_so(part, harm):
    whole = read_metadata("JPEG", original("JPEG"))
    harmed = harm(original("JPEG"))
    assert harmed != original("JPEG")
    found = read_metadata("JPEG", harmed)
    assert {line.partition(":")[0] for line in found.lost} == {part}
    fields = {"XMP": "xmp", "IPTC": "iptc", "ICC profile": "profile", "EXIF": "exif"}
    for name in fields.values():
        assert (getattr(found, name) == getattr(whole, name)) == (name != fields[part]), name
    if part == "IPTC":
        assert b"market" in found.iptc, "what comes before the bad dataset"


def test_a_mistake_of_ours_is_no_damage_of_a_photo(monkeypatch):
    monkeypatch.setattr("storage.metadata.iptc._MOST_DATASETS", None)
    with pytest.raises(TypeError):
        read_metadata("JPEG", original("JPEG"))


def test_the_same_error_of_a_library_is_damage(monkeypatch):
    def fails(*args: object, **named: object) -> None:
        raise TypeError("as Pillow does on bad bytes")

    monkeypatch.setattr("storage.metadata.extraction.Image.open", fails)
    found = read_metadata("BMP", saved(gray(), "BMP"))
    assert found.lost == ("metadata: as Pillow does on bad bytes",)


def test_the_boxes_of_a_jpeg_xl_are_read():
    stream = bytes(imagecodecs.jpegxl_encode(picture()[..., 0], usecontainer=False))

    def box(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I4s", 8 + len(data), kind) + data

    start = b"\0\0\0\x0cJXL \r\n\x87\n" + box(b"ftyp", b"jxl \0\0\0\0jxl ")
    boxes = box(b"Exif", bytes(4) + exif_structure()) + box(b"xml ", XMP) + box(b"brob", b"jumb")
    found = read_metadata("JXL", start + boxes + box(b"jxlc", stream))
    assert b"Kodak" in found.exif and found.xmp == XMP
    assert found.lost == ("jumb: it is packed by Brotli, which is not read here",)
