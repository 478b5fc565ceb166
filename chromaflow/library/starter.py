"""The starter weights: where they lie, and how a library or command says what they may be used for."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import colorization

_STARTER = Path(colorization.__file__).parent / "starter"


def starter_path(name: str) -> Path:
    """Weights that come with the package. name: a category, or 'segmenter'."""
    return _STARTER / f"{name}.safetensors"


DATA = """Data. The experts learned from 101,248 crops of some 38,000 photographs: 6,469 that were gathered for
this project and 34,471 more, without those kept for validation, all from public repositories on GitHub.
The segmenter learned from 5,200 such photographs and from 120 of Pascal VOC 2012, and starts from
weights that Google published under Apache-2.0 (deeplabv3_mnv2_pascal_trainval), which had seen VOC's.
The experts' encoder comes down from weights that were trained on ImageNet.

Licence of the photographs. Most of these repositories state none for their pictures; those of VOC and
ImageNet belong to the people who put them on Flickr and elsewhere. No consent of photographers, or of
those who are seen on the photographs, is known here. No photograph is part of the weights.

Licence of the weights. The files come with the program under Apache-2.0, as far as their makers have
rights in them. Whether weights are free of the rights in what they learned from is not settled by law,
and differs between countries. They are meant for research. Nobody gives a warranty."""
"""The data and licence situation of the starter weights, as `chromaflow cite` says it."""

ADVICE = """Before an archive publishes. Colours made by the starter weights are at the archive's own judgement;
weights that you train from scratch on photographs whose licence you know (`[train] init = "scratch"`;
`[train] license` says it in their cards) leave the question behind, those that start from the starter's
do not; nor does the starter segmenter (`[colorize] segmenter` names another). Each output names in its XMP the
weights that coloured it, by SHA-256, and says that it was made by an AI (IPTC's
trainedAlgorithmicMedia); `--label corner` says so in the picture. Colours are conjecture: no evidence
of what was there."""
"""What an archive can do about it."""


def citation(version: str, hashes: Iterable[tuple[str, str]]) -> str:
    """How to cite the program and the weights that it used. hashes: name and SHA-256 of each."""
    weights = ", ".join(f"{name} {digest[:12]}" for name, digest in hashes)
    return (
        "@software{chromaflow,\n"
        "  title = {Chromaflow: colorizing archives of black-and-white photographs},\n"
        "  author = {{The Chromaflow authors}},\n"
        f"  version = {{{version}}},\n"
        "  year = {2026},\n"
        "  license = {Apache-2.0},\n"
        f"  note = {{Starter weights by SHA-256: {weights}}}\n"
        "}\n\n"
        "@misc{monaco-ziliotto,\n"
        "  title = {Image colorization through CNN's \\& Segmentation models},\n"
        "  author = {Monaco, Saverio and Ziliotto, Filippo},\n"
        "  note = {The paper whose merge of experts by segmentation this follows}\n"
        "}"
    )
