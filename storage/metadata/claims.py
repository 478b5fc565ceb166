"""What an original's XMP says of bytes that lie behind its picture, which no derivative carries.

Motion photos (Google, Samsung, OPPO, vivo, Xiaomi), gain maps (Adobe, Apple), depth maps and
recordings beside them: a reader that believes it looks for them in the wrong file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from xml.etree.ElementTree import Element

from storage.containers.parsing import Losses

_CLAIMS = {
    "film": r".*\}(?:V?MotionPhoto|MicroVideo|OLivePhoto)|http://ns\.oplus\.com/.*\}VideoLength",
    "files behind its picture": r"http://ns\.google\.com/photos/(?:1\.0/container|dd/1\.0/\w+)/"
    r"|http://ns\.xiaomi\.com/.*\}XMPMeta|http://ns\.samsung\.com/model3d",
    "gain map": r"http://ns\.adobe\.com/hdr-gain-map/|http://ns\.apple\.com/(?:HDRGainMap|pixeldatainfo)/",
    "depth map": r"http://ns\.google\.com/photos/1\.0/depthmap/|http://ns\.apple\.com/(?:depth|portrait)",
    "second picture": r"http://ns\.google\.com/photos/1\.0/image/",
    "recording": r"http://ns\.google\.com/photos/1\.0/audio/",
}
"""What is claimed, and how the names of the properties begin that claim it: {namespace}name."""
_PATTERNS = {what: re.compile(r"\{(?:" + names + ")") for what, names in _CLAIMS.items()}
_BLOCK = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}Description"
_MOST_NAMES = 3


def drop_claims(rdf: Element, prefixes: Mapping[str, str], losses: Losses) -> None:
    """Take such properties out, and note them; where a map's own bytes are in the packet, it stays.

    prefixes: of namespaces, as the packet has them, for people.
    """
    blocks = rdf.findall(_BLOCK)
    names = {name for block in blocks for name in (*block.attrib, *(child.tag for child in block))}
    for what, pattern in _PATTERNS.items():
        claimed = sorted(name for name in names if pattern.match(name) and not _kept(name, names))
        for block in blocks:
            for name in claimed:
                block.attrib.pop(name, None)
            block[:] = [child for child in block if child.tag not in claimed]
        if claimed:
            shown = [_prefixed(name, prefixes) for name in claimed]
            more = f" and {len(shown) - _MOST_NAMES} more" if len(shown) > _MOST_NAMES else ""
            shown = shown[:_MOST_NAMES]
            losses.note("XMP", f"{', '.join(shown)}{more} left out: the output has no {what}")


def _kept(name: str, names: set[str]) -> bool:
    """Whether what it tells of is the packet's own: a property Data beside it."""
    namespace = name[: name.index("}") + 1]
    return namespace + "Data" in names


def _prefixed(name: str, prefixes: Mapping[str, str]) -> str:
    uri, _, local = name[1:].partition("}")
    return f"{prefixes.get(uri) or uri}:{local}"
