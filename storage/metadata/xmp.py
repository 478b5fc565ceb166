"""XMP packets (ISO 16684-1): what an original's packet becomes in its colorized derivative.

Names: IPTC Photo Metadata Standard 2025.1 for the AI properties, and our own namespace for the
hashes. Packets come from files that are not ours: a document type, with or without entities, is
refused, and size, depth and number of elements are bounded.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from xml.etree import ElementTree
from xml.etree.ElementTree import Element
from xml.sax.saxutils import escape, quoteattr

from storage.containers.parsing import Losses
from storage.errors import PhotoError
from storage.metadata.charsets import decoded
from storage.metadata.claims import drop_claims
from storage.metadata.regions import Placement, move_regions

CAPTION = "Colorized by AI; colours are conjecture"
"""What the caption of every derivative says."""
COMPOSITE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"

_SEPARATOR = " | "
_LAYOUTS = ('{"shape"', "ImageJ=", "<?xml", "<OME")
"""Captions of scientific TIFF writers, who describe the pixels there; ours have another shape."""
_MOST_BYTES = 4 << 20
_MOST_ELEMENTS, _MOST_DEPTH = 100_000, 64
_LONGEST_CAPTION = 8000
"""Characters of a caption that are kept where the packet must fit into one JPEG segment."""
_NAMESPACES = {
    "x": "adobe:ns:meta/",
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "xml": "http://www.w3.org/XML/1998/namespace",
    "dc": "http://purl.org/dc/elements/1.1/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "xmpNote": "http://ns.adobe.com/xmp/note/",
    "tiff": "http://ns.adobe.com/tiff/1.0/",
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    "chromaflow": "http://ns.chromaflow.org/1.0/",
}


def _name(prefixed: str) -> str:
    prefix, _, local = prefixed.partition(":")
    return f"{{{_NAMESPACES[prefix]}}}{local}"


_RDF, _BLOCK, _ABOUT = _name("rdf:RDF"), _name("rdf:Description"), _name("rdf:about")
_ITEM, _LANGUAGE = _name("rdf:li"), _name("xml:lang")
_DESCRIPTION, _ORIENTATION = _name("dc:description"), _name("tiff:Orientation")
_SOURCE_TYPE = _name("Iptc4xmpExt:DigitalSourceType")
_SYSTEM, _SYSTEM_VERSION = (
    _name("Iptc4xmpExt:AISystemUsed"),
    _name("Iptc4xmpExt:AISystemVersionUsed"),
)
_ORIGINAL, _CHECKPOINTS = _name("chromaflow:OriginalSHA256"), _name("chromaflow:Checkpoints")
_NOTE = _name("chromaflow:Note")
_OWN = (_DESCRIPTION, _SOURCE_TYPE, _SYSTEM, _SYSTEM_VERSION, _ORIGINAL, _CHECKPOINTS, _NOTE)
_STALE = (_name("xmp:Thumbnails"), _name("xmpNote:HasExtendedXMP"))
"""A gray thumbnail; and the pointer to further JPEG segments, which are not carried over."""
_WIDE = {
    b"<\0\0\0": "utf-32-le",
    b"\0\0\0<": "utf-32-be",
    b"\xff\xfe\0\0": "utf-32",
    b"<\0": "utf-16-le",
    b"\0<\0": "utf-16-be",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
"""How a packet of each begins (ISO 16684-1, 7.3.2), the longer first."""
_DECLARATION = re.compile(r"""\A<\?xml\s[^>]*?(?:encoding\s*=\s*["']([\w.-]+)["'][^>]*?)?\?>""")
_WESTERN = {"utf-8", "iso-8859-1", "latin1", "us-ascii", "windows-1252", "cp1252"}
_OF_PROGRAMS = (
    "{http://ns.adobe.com/camera-raw-settings/",
    "{http://darktable.sf.net/",
    "{http://ns.adobe.com/xap/1.0/mm/",
)
_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, kw_only=True, slots=True)
class Provenance:
    """Where the colours of a derivative come from."""

    system: str
    """The program, e.g. Chromaflow."""
    version: str
    original_sha256: str
    """Of the original file's bytes, hexadecimal."""
    checkpoints: tuple[tuple[str, str], ...]
    """Name and SHA-256 (hexadecimal) of each checkpoint that coloured the photo."""
    note: str = ""
    """What else a reader must know, e.g. that the original was truncated."""


def suffixed(caption: str) -> str:
    """The caption with `CAPTION` after it, once; alone where there is none."""
    caption = caption.rstrip("\0 ")
    if CAPTION in caption:
        return caption
    if not caption.strip() or caption.startswith(_LAYOUTS):
        return CAPTION
    return caption + _SEPARATOR + CAPTION


def checked(packet: bytes) -> bytes:
    """The packet in UTF-8 and without padding, if it is one. Raises PhotoError as for a hostile packet."""
    packet = _in_utf8(packet)
    _parsed(packet)
    return packet


def joined(packet: bytes, sidecar: bytes) -> bytes:
    """A packet with the properties of a sidecar, which replace those of the same name.

    What a sidecar says of its program's own work, not of the picture, stays in it: the settings of
    Camera Raw and darktable, and the history of the file.
    """
    (root, prefixes), (other, more) = _root(packet), _root(sidecar)
    rdf, beside = root.find(f".//{_RDF}"), other.find(f".//{_RDF}")
    assert rdf is not None and beside is not None
    about = next((block.get(_ABOUT, "") for block in rdf.iterfind(_BLOCK)), "")
    for block in beside.findall(_BLOCK):
        new = Element(_BLOCK, {_ABOUT: about})
        for name in [*block.attrib, *dict.fromkeys(child.tag for child in block)]:
            if name == _ABOUT or name.startswith(_OF_PROGRAMS):
                continue
            _take(rdf, name)
            if name in block.attrib:
                new.set(name, block.attrib[name])
            new.extend(block.findall(name))
        rdf.append(new)
    _drop_empty(rdf)
    return _packed(root, prefixes | more)


def merge(
    packet: bytes,
    provenance: Provenance,
    *,
    caption: str,
    placement: Placement | None,
    losses: Losses,
) -> bytes:
    """Label a packet as colorized; a new packet where none is given, or it does not parse.

    caption: of the original's EXIF or IPTC, for a packet without dc:description. placement: where
    the pixels went, to move regions with them. losses: gets what is left out. Returns UTF-8.
    """
    root, prefixes = _root(packet)
    rdf = root.find(f".//{_RDF}")
    assert rdf is not None
    about = next((block.get(_ABOUT, "") for block in rdf.iterfind(_BLOCK)), "")
    description = _described(_take(rdf, _DESCRIPTION), caption)
    for name in (*_OWN, *_STALE):
        _take(rdf, name)
    drop_claims(rdf, prefixes, losses)
    if placement:
        move_regions(rdf, placement, losses)
    _set_upright(rdf)
    _drop_empty(rdf)
    rdf.append(_labels(provenance, description, about))
    return _packed(root, prefixes)


def essential(packet: bytes) -> bytes:
    """Our labels and the caption alone, for a packet that is too long for its container."""
    root, prefixes = _root(packet)
    rdf = root.find(f".//{_RDF}")
    assert rdf is not None
    kept = Element(_BLOCK, {_ABOUT: ""})
    kept.extend(child for block in rdf.iterfind(_BLOCK) for child in block if child.tag in _OWN)
    for array in kept.iterfind(f"{_DESCRIPTION}/*"):
        array[:] = [item for item in array if item.get(_LANGUAGE) == "x-default"]
        for item in array:
            item.text = suffixed((item.text or "")[:_LONGEST_CAPTION])
    new, _ = _new()
    new[0].append(kept)
    return _packed(new, prefixes)


def _in_utf8(packet: bytes) -> bytes:
    """In UTF-8 and without padding. Where it declares a charset that the parser knows, as it was.

    Else it is UTF-16 or 32 by its first bytes, or UTF-8, or Windows-1252, which Latin-1 means too.
    """
    wide = next((name for start, name in _WIDE.items() if packet.startswith(start)), None)
    if wide:
        text = packet.decode(wide, "replace").strip("\0 \r\n\t\ufeff")
        return _DECLARATION.sub("", text).encode()
    packet = packet.strip(b"\0 \r\n\t")
    text = packet.decode("latin-1")
    found = _DECLARATION.match(text)
    charset = found[1].lower() if found and found[1] else "utf-8"
    if charset not in _WESTERN:
        return packet
    try:
        packet.decode()
    except UnicodeDecodeError:
        return _DECLARATION.sub("", decoded(packet)).encode()
    return packet


class _Builder(ElementTree.TreeBuilder):
    """Builds a bounded tree, and notes the prefixes."""

    def __init__(self) -> None:
        super().__init__()
        self.prefixes: dict[str, str] = {}
        self._depth = self._num_elements = 0

    def start_ns(self, prefix: str, uri: str) -> None:
        self.prefixes.setdefault(uri, prefix)

    def doctype(self, name: str, public: str | None, system: str | None) -> None:
        raise PhotoError("DAMAGED", f"expected XMP without a document type, got {name[:80]!r}")

    def start(self, tag: str, attributes: dict[str, str], /) -> Element:
        self._depth, self._num_elements = self._depth + 1, self._num_elements + 1
        if self._depth > _MOST_DEPTH or self._num_elements > _MOST_ELEMENTS:
            raise PhotoError("DAMAGED", f"expected XMP of at most {_MOST_ELEMENTS} flat elements")
        return super().start(tag, attributes)

    def end(self, tag: str, /) -> Element:
        self._depth -= 1
        return super().end(tag)


def _parsed(packet: bytes) -> tuple[Element, dict[str, str]]:
    if len(packet) > _MOST_BYTES:
        raise PhotoError(
            "DAMAGED", f"expected XMP of at most {_MOST_BYTES} bytes, got {len(packet)}"
        )
    builder = _Builder()
    parser = ElementTree.XMLParser(target=builder)
    try:
        parser.feed(packet)
        root: Element = parser.close()
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise PhotoError("DAMAGED", f"expected well-formed XMP, got: {error}") from error
    return root, builder.prefixes


def _root(packet: bytes) -> tuple[Element, dict[str, str]]:
    """The tree of a packet with rdf:RDF inside its root, and its prefixes."""
    try:
        root, prefixes = _parsed(packet)
    except PhotoError:
        return _new()
    if root.tag == _RDF:
        new, _ = _new()
        new[:] = [root]
        return new, prefixes
    return (root, prefixes) if root.find(f".//{_RDF}") is not None else _new()


def _new() -> tuple[Element, dict[str, str]]:
    root = Element(_name("x:xmpmeta"), {_name("x:xmptk"): "Chromaflow"})
    root.append(Element(_RDF))
    return root, {}


def _take(rdf: Element, name: str) -> Element | None:
    """Remove a property, whether element or attribute. Returns the first, as an element."""
    taken: list[Element] = []
    for block in rdf.iterfind(_BLOCK):
        if name in block.attrib:
            taken.append(_text(name, block.attrib.pop(name)))
        children = block.findall(name)
        taken += children
        for child in children:
            block.remove(child)
    return taken[0] if taken else None


def _set_upright(rdf: Element) -> None:
    for block in rdf.iterfind(_BLOCK):
        if _ORIENTATION in block.attrib:
            block.set(_ORIENTATION, "1")
        for child in block.iterfind(_ORIENTATION):
            child[:], child.text = [], "1"


def _drop_empty(rdf: Element) -> None:
    for block in rdf.findall(_BLOCK):
        if not len(block) and not block.attrib.keys() - {_ABOUT}:
            rdf.remove(block)


def _labels(provenance: Provenance, description: Element, about: str) -> Element:
    block = Element(_BLOCK, {_ABOUT: about})
    block.append(description)
    texts = {
        _SOURCE_TYPE: COMPOSITE,
        _SYSTEM: provenance.system,
        _SYSTEM_VERSION: provenance.version,
        _ORIGINAL: provenance.original_sha256,
        _NOTE: provenance.note,
    }
    block.extend(_text(name, text) for name, text in texts.items() if text)
    items = [_text(_ITEM, f"{name} sha256:{digest}") for name, digest in provenance.checkpoints]
    if items:
        block.append(_array(_CHECKPOINTS, "rdf:Bag", items))
    return block


def _described(old: Element | None, caption: str) -> Element:
    """dc:description, a language alternative (ISO 16684-1, 8.2.2.4), each suffixed, with an x-default."""
    caption = _legal(caption).strip()
    items = [] if old is None else old.findall(f".//{_ITEM}")
    if not items:
        plain = "" if old is None else _plain(old)
        items = [_text(_ITEM, plain or caption)]
        items[0].set(_LANGUAGE, "x-default")
    default = next((item for item in items if item.get(_LANGUAGE) == "x-default"), None)
    if default is None:
        default = _text(_ITEM, _plain(items[0]))
        default.set(_LANGUAGE, "x-default")
        items.insert(0, default)
    for item in items:
        text = _plain(item) or (caption if item is default else "")
        item[:], item.text = [], suffixed(text)
    return _array(_DESCRIPTION, "rdf:Alt", items)


def _array(name: str, kind: str, items: list[Element]) -> Element:
    element, array = Element(name), Element(_name(kind))
    array.extend(items)
    element.append(array)
    return element


def _text(name: str, text: str) -> Element:
    element = Element(name)
    element.text = _legal(text)
    return element


def _plain(element: Element) -> str:
    return "".join(element.itertext()).strip()


def _legal(text: str) -> str:
    """Without the characters that XML 1.0 (2.2) has not."""
    return _NOT_IN_XML.sub("", text)


def _packed(root: Element, prefixes: Mapping[str, str]) -> bytes:
    """Serialize as a packet (ISO 16684-1, 7.3), UTF-8; all prefixes are declared on the root."""
    names = _prefixes(root, prefixes)
    declared = "".join(
        f" xmlns:{prefix}={quoteattr(uri)}" for uri, prefix in names.items() if prefix != "xml"
    )
    body = "".join(_written(root, names, declared))
    start, end = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>', '<?xpacket end="w"?>'
    return f"{start}\n{body}\n{end}".encode()


def _prefixes(root: Element, known: Mapping[str, str]) -> dict[str, str]:
    """Namespace → prefix for all that the tree uses: ours, else the packet's own, else ns1…"""
    names = [name for element in root.iter() for name in (element.tag, *element.attrib)]
    used = dict.fromkeys(name[1:].partition("}")[0] for name in names if name[0] == "{")
    chosen = {uri: prefix for prefix, uri in _NAMESPACES.items() if uri in used}
    taken, fresh = {"", *_NAMESPACES}, (f"ns{number}" for number in itertools.count(1))
    for uri in used:
        if uri not in chosen:
            wanted = itertools.chain([known.get(uri, "")], fresh)
            chosen[uri] = next(prefix for prefix in wanted if prefix not in taken)
            taken.add(chosen[uri])
    return chosen


def _written(element: Element, names: Mapping[str, str], declared: str = "") -> Iterator[str]:
    tag = _prefixed(element.tag, names)
    attributes = "".join(
        f" {_prefixed(name, names)}={quoteattr(value)}" for name, value in element.items()
    )
    yield f"<{tag}{declared}{attributes}>{_escaped(element.text)}"
    for child in element:
        yield from _written(child, names)
    yield f"</{tag}>{_escaped(element.tail)}"


def _escaped(text: str | None) -> str:
    return escape(text or "", {"\r": "&#13;"})


def _prefixed(name: str, names: Mapping[str, str]) -> str:
    if name[0] != "{":
        return name
    uri, _, local = name[1:].partition("}")
    return f"{names[uri]}:{local}"
