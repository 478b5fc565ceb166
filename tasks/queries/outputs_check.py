"""`chromaflow verify OUT`: are the derivatives whole, labelled, of the right size, and as light?"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from colorization.colour.lightness import compare_lightness
from storage.errors import PhotoError, UsageError
from storage.metadata.content_credentials import read_manifest
from storage.metadata.extraction import read_metadata
from storage.photos.decoder import Decoder
from storage.photos.encoding import holds_metadata
from storage.photos.photo import Photo
from storage.pictures.labels import label_box, labelled_shape
from storage.records.fingerprint import hash_bytes
from storage.records.item_record import OutputFacts, each_item
from storage.records.names import SIDECAR_SUFFIX
from storage.records.workspace import Workspace
from storage.sources.locations import resolve_location
from storage.sources.source import Source, open_source
from tasks.archive.workflow import output_workspace
from tasks.engine.kept import recorded_kept
from tasks.engine.verification import read_success, root_of, verify_workspace
from tasks.jobs.machine import available_cores

_STEP = "colorize/archive"
_LABEL = b"compositeWithTrainedAlgorithmicMedia"
_MOST_CODES = 1
"""Of a lossless derivative; rounding to RGB costs so much."""
_MOST_MEAN_L = 2.0
"""Of a lossy one: quality 95 costs about 0.3."""


@dataclass(frozen=True, slots=True)
class OutputsReport:
    """What was found."""

    steps: list[str]
    damaged: list[dict[str, str]]
    """step, item and problem of each."""
    num_outputs: int
    num_compared: int
    max_codes: int | None
    """Largest difference of gray among lossless derivatives, code values at their depth; None where none
    was compared."""
    mean_L: float | None
    """Mean |ΔL*| over the lossy ones; None where none was compared."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


@dataclass(slots=True)
class _Finding:
    output: str
    lossless: bool
    problems: list[str] = field(default_factory=list)
    max_codes: int | None = None
    mean_L: float | None = None


def verify_outputs(output: Path | str, originals: str | None = None) -> OutputsReport:
    """Check fixity, then decode every derivative and look at its size, pages and labels.

    output: OUT of `chromaflow colorize`. originals: where the photos are, to compare lightness too.
    Raises UsageError where nothing was colorized, or where there are no originals.
    """
    workspace = output_workspace(output)
    success = read_success(workspace.current("colorize", "archive"))
    if success is None:
        raise UsageError(
            f"Expected the output of a finished `chromaflow colorize`, found none in {output}."
        )
    root = root_of(workspace, workspace.current("colorize", "archive"), success)
    source = open_source(resolve_location(originals)) if originals else None
    steps, damaged = verify_workspace(workspace)
    facts = list(_outputs(workspace))
    findings = _Checker(root, source).check_all(facts)
    kept = list(_kept(workspace, facts))
    for place in {place for place, _ in kept}:  # their originals are gone, or lie elsewhere
        of_place = [one for folder, one in kept if folder == place]
        findings += _Checker(place, None).check_all(of_place)
    damaged += [
        {"step": _STEP, "item": finding.output, "problem": problem}
        for finding in findings
        for problem in finding.problems
    ]
    codes = [finding.max_codes for finding in findings if finding.max_codes is not None]
    lossy = [finding.mean_L for finding in findings if finding.mean_L is not None]
    return OutputsReport(
        steps=steps,
        damaged=damaged,
        num_outputs=len(facts) + len(kept),
        num_compared=len(facts) if source else 0,
        max_codes=max(codes, default=None),
        mean_L=sum(lossy) / len(lossy) if lossy else None,
    )


def _outputs(workspace: Workspace) -> Iterator[OutputFacts]:
    for record in each_item(workspace.current("colorize", "archive") / "done"):
        yield from record.outputs


def _kept(workspace: Workspace, own: Iterable[OutputFacts]) -> Iterator[tuple[Path, OutputFacts]]:
    """Folder and facts of outputs that no current record names."""
    names = {facts.output for facts in own}
    for output in recorded_kept(workspace):
        if output.name not in names:
            yield output.place(workspace), output.facts


class _Checker:
    """Looks at derivatives in threads; each has a decoder for originals and one for derivatives."""

    def __init__(self, root: Path, source: Source | None) -> None:
        self._root, self._source = root, source
        self._reading = threading.Lock()
        self._own = threading.local()
        self._decoders: list[Decoder] = []

    def check_all(self, facts: Iterable[OutputFacts]) -> list[_Finding]:
        try:
            with ThreadPoolExecutor(available_cores(), initializer=self._start) as pool:
                return list(pool.map(self._check, facts))
        finally:
            for decoder in self._decoders:
                decoder.close()

    def _start(self) -> None:
        self._own.originals, self._own.derivatives = Decoder(), Decoder()
        self._decoders += [self._own.originals, self._own.derivatives]

    def _check(self, facts: OutputFacts) -> _Finding:
        finding = _Finding(facts.output, facts.lossless)
        try:
            content = (self._root / facts.output).read_bytes()
            finding.problems += _label_problems(self._root, facts, content)
            if facts.signed:
                finding.problems += _signature_problems(facts, content)
            pages = self._own.derivatives.pages(content, max_megapixels=float("inf"))
            befores = self._originals(facts)
            num_pages = 0
            for page, before in zip_longest(pages, befores):
                num_pages += page is not None
                if page is not None:
                    _check_page(finding, facts, num_pages, page, before)
            if num_pages != facts.num_pages:
                finding.problems.append(f"expected {facts.num_pages} pages, got {num_pages}")
        except (OSError, PhotoError) as error:
            finding.problems.append(str(error))
        return finding

    def _originals(self, facts: OutputFacts) -> Iterator[Photo]:
        """The pages of the original; none where originals are not compared."""
        if self._source is None:
            return iter(())
        with self._reading:
            content = self._source.read(facts.photo, facts.offset, facts.bytes)
        if hash_bytes(content) != facts.sha256:
            raise PhotoError("UNREADABLE", "the original is not the one that was colorized")
        decoder: Decoder = self._own.originals
        return decoder.pages(
            content, max_megapixels=float("inf"), salvage=True, stretch=facts.range == "auto"
        )


def _check_page(
    finding: _Finding, facts: OutputFacts, number: int, page: Photo, before: Photo | None
) -> None:
    height, width = page.pixels.shape[:2]
    label = "" if number in facts.copied else facts.label
    if number == 1:
        size = labelled_shape((facts.height, facts.width), label)
        if (height, width) != size:
            wanted = f"{size[1]}×{size[0]}"
            finding.problems.append(f"expected {wanted} pixels, got {width}×{height}")
            return
    if before is None:
        return
    shape = (before.header.height, before.header.width)
    if labelled_shape(shape, label) != (height, width):
        finding.problems.append(f"page {number} is not of its original's size")
        return
    _compare_page(finding, facts, label, page, before)


def _compare_page(
    finding: _Finding, facts: OutputFacts, label: str, page: Photo, before: Photo
) -> None:
    change = compare_lightness(
        before.pixels,
        page.pixels,
        dtype=np.uint16 if facts.bits > 8 else np.uint8,
        ignored=label_box(before.pixels.shape[:2], label),
    )
    if facts.lossless:
        finding.max_codes = max(finding.max_codes or 0, change.max_codes)
        if change.max_codes > _MOST_CODES:
            finding.problems.append(
                f"expected gray within {_MOST_CODES} code value, got {change.max_codes}"
            )
        return
    finding.mean_L = max(finding.mean_L or 0.0, change.mean_L)
    if change.mean_L > _MOST_MEAN_L:
        finding.problems.append(
            f"expected L within {_MOST_MEAN_L:g} on average, got {change.mean_L:.2f}"
        )


def _signature_problems(facts: OutputFacts, content: bytes) -> list[str]:
    """Whether its C2PA manifest is signed rightly, and names the original."""
    said = read_manifest(content, facts.format)
    problems = [f"its C2PA manifest: {problem}" for problem in said["problems"]]
    if said["valid"] and said["colorization"]["original"]["sha256"] != facts.sha256:
        problems.append("its C2PA manifest names another original")
    return problems


def _label_problems(root: Path, facts: OutputFacts, content: bytes) -> list[str]:
    """Whether it says that an AI coloured it, and what it was made from."""
    if holds_metadata(facts.format):
        first = next((n for n in range(facts.num_pages) if n + 1 not in facts.copied), 0)
        xmp = read_metadata(facts.format, content, first).xmp
    else:
        xmp = (root / (facts.output + SIDECAR_SUFFIX)).read_bytes()
    wanted = {"DigitalSourceType": _LABEL, "OriginalSHA256": facts.sha256.encode()}
    return [f"its XMP lacks {name}" for name, value in wanted.items() if value not in xmp]
