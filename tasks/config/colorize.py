"""[colorize]: segmenter, merge, what is coloured and what outputs are like."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from colorization.categories import VOC_CLASSES
from colorization.merging.options import MERGE_MODES, MOST_SATURATION, VIVID, MergeOptions
from colorization.merging.segmenter_names import check_segmenter
from colorization.networks.palette_choice import (
    MEAN,
    MOST_VARIANTS,
    PaletteChoice,
    parse_palette,
)
from storage.allowed import ALGORITHMS
from storage.errors import REASONS, UsageError
from storage.formats import OUTPUT_FORMATS, SPELLINGS
from storage.metadata.signing import Signing
from tasks.config.problems import Rule
from tasks.config.types import (
    PAGES,
    PATTERNS,
    Accepts,
    SpeltAs,
    TriedBy,
    canonical,
    check_rules,
    checked,
    list_of,
    number,
    one_of,
    over,
    parse_pages,
    whole,
)

TONINGS = ("neutral", "keep", "replace")
RANGES = ("declared", "auto")
LABELS = ("corner", "border")
_ACCEPTABLE = tuple(code for code, reason in REASONS.items() if reason.acceptable)
_OF_SERIES = (
    *(
        "segmenter",
        "classes",
        "merge",
        "temperature",
        "floor",
        "feather",
        "threshold",
        "short_side",
    ),
    *("range", "salvage", "series"),
)
_MERGE = MergeOptions()
"""The defaults of [colorize], which are said there."""
SERIES = ("folder",)
_PLACES = ("segmenter_weights", "hints", "palette_from", "certificates", "key")
"""Fields of [colorize] that say where a file lies."""
_URL = Accepts(
    "an http:// or https:// URL, or nothing",
    lambda value: value == "" or value.startswith(("http://", "https://")),
    example="https://time.example.org",
)
_VocClass = Annotated[str, one_of(*VOC_CLASSES)]


@checked
@dataclass(frozen=True, kw_only=True, slots=True)
class ColorizeConfig:
    """[colorize]: segmenter and merge."""

    segmenter: Annotated[str, TriedBy(check_segmenter)] = "starter"
    """starter, torchvision:<name>, or MODULE:CLASS of one's own."""
    segmenter_weights: str = ""
    """The official state dict (.pth) of a torchvision segmenter; default: the cache of
    `chromaflow models fetch`. Of one's own: the file that it is called with."""
    classes: dict[_VocClass, str] = field(default_factory=dict)
    """VOC class → category where it is to be another than [categories] says; for torchvision's segmenters."""
    merge: Annotated[str, one_of(*MERGE_MODES)] = _MERGE.mode
    """soft, or hard as in the paper. This and the five below: `colorization.merging.options`."""
    temperature: Annotated[float, over(0)] = _MERGE.temperature
    floor: Annotated[float, number(0, 1)] = _MERGE.floor
    feather: Annotated[float, number(0, 0.5)] = _MERGE.feather
    threshold: Annotated[float, number(0, 1)] = _MERGE.threshold
    abstain: Annotated[float, number(0)] = _MERGE.abstain
    saturation: Annotated[float, number(0, MOST_SATURATION)] = _MERGE.saturation
    """Factor on the colours: 1 as they are found, 1.3 vivid, 0 none; lightness and hints stay."""
    palette: Annotated[str, TriedBy(parse_palette)] = MEAN
    """Which of its plausible colourings a photo gets, where the experts follow palettes: mean, that of none
    and of all; likely, the likeliest; 1 to 48, an entry of the codebook; or a code of 16 hexadecimal digits
    as the report names it."""
    palette_from: str = ""
    """A colour photo whose palette all photos get: of the same place, or a painting; empty for none."""
    series: Annotated[str, one_of(*SERIES, empty=True)] = ""
    """folder: photos of one folder get the palette that is likeliest for all of them together; empty for
    each its own."""
    variants: Annotated[int, whole(0, MOST_VARIANTS)] = 0
    """How many of its likeliest colourings each photo gets beside its own, as NAME.v1.color.EXT."""
    short_side: Annotated[int, whole(32)] = 256
    """Network size: the short side in pixels."""
    chunk: Annotated[int, whole(1)] = 32
    """Most photos a Dask future; about 12 megapixels end one earlier."""
    sheet: Annotated[int, whole(0)] = 12
    """Photos on the contact sheet; 0 for none."""
    thumbnails: Annotated[int, whole(64, 1024, also=0)] = 256
    """Long side of each photo's pictures in the run report, pixels; 0 for none, and then its mix of
    categories and its colourfulness are not measured."""
    toning: Annotated[str, one_of(*TONINGS)] = "neutral"
    """Of toned photos (sepia): neutral replaces the toning, keep adds the colours to it. Both keep what is
    coloured far beyond it: strips, stamps, ink. replace replaces that as well."""
    accept: Annotated[tuple[str, ...], list_of("codes", *_ACCEPTABLE)] = ()
    """What is coloured instead of skipped or copied: ALREADY_COLOR, BILEVEL, MASK, ANIMATED."""
    accept_photos: Annotated[tuple[str, ...], PATTERNS] = ()
    """Patterns as in .gitignore of photos that are coloured whatever they are: all that accept takes."""
    pages: Annotated[str, PAGES] = ""
    """Of files with several, the pages to colour, as 1,3-5; others are copied. Empty for all."""
    range: Annotated[str, one_of(*RANGES)] = "declared"
    """Which samples are black and white: declared as the file says, else by their bits; auto stretches
    those that all lie under 1/8 of it and of which it says nothing."""
    salvage: bool = False
    """Whether of a TIFF that is cut the pages that can be read are coloured; else it is TRUNCATED."""
    format: Annotated[str, one_of(*OUTPUT_FORMATS, empty=True), SpeltAs(SPELLINGS)] = ""
    """Format of all outputs: jpeg (or jpg), png, tiff (or tif) or webp; empty for each photo's own."""
    label: Annotated[str, one_of(*LABELS, empty=True)] = ""
    """A visible "AI colorized": corner or border; empty for none."""
    sidecar: bool = False
    """Whether every output gets an XMP sidecar, not only where the format holds no metadata."""
    keep_times: bool = False
    """Whether outputs get the times of their originals, where these are files."""
    uncertainty: bool = False
    """Whether every output gets a map of how certain its colours are beside it."""
    hints: str = ""
    """CSV of colours at points of photos (`tasks.config.hints`); empty for none."""
    certificates: str = ""
    """PEM with the signer's certificate and its authorities': every output that can gets a signed C2PA
    manifest (needs the extra `c2pa`); empty for none."""
    key: str = ""
    """PEM with that certificate's private key."""
    signature: Annotated[str, one_of(*ALGORITHMS)] = "es256"
    """Algorithm of the key."""
    time_authority: Annotated[str, _URL] = ""
    """URL of a time-stamp authority that is asked for each output; empty for none."""

    def __post_init__(self) -> None:
        check_rules(
            Rule(
                bool(self.certificates) == bool(self.key),
                "key",
                "a file exactly when certificates is one",
                self.key,
                "Name both or none.",
            ),
            Rule(
                not self.classes or self.segmenter.startswith("torchvision:"),
                "segmenter",
                "torchvision:NAME with [colorize.classes]",
                self.segmenter,
                "Take the classes out, or choose such a segmenter.",
            ),
        )
        _ = self.merge_options  # raises for a wrong one
        check_rules(
            Rule(
                self.palette == MEAN or not self.palette_from,
                "palette",
                f"{MEAN} with palette_from, which says it",
                self.palette,
                "Leave one of the two out.",
            ),
            Rule(
                not self.series or not (self.palette_from or self.palette_choice.own),
                "series",
                f"{MEAN} or likely as palette with series, which finds one for each folder",
                f"palette {self.palette}" + (" and palette_from" if self.palette_from else ""),
                "Leave one of the two out.",
            ),
        )

    def result_parts(self) -> dict[str, Any]:
        """What decides the outputs, for the fingerprint; files count by their hash."""
        return {name: value for name, value in canonical(self).items() if name not in _PLACES}

    @property
    def palette_choice(self) -> PaletteChoice:
        """`palette`, parsed."""
        return parse_palette(self.palette)

    def series_parts(self) -> dict[str, Any]:
        """What decides the palettes of series, for the fingerprint."""
        parts = self.result_parts()
        return {name: parts[name] for name in _OF_SERIES}

    def output_parts(self) -> dict[str, Any]:
        """What a worker needs to know beside the models."""
        names = (
            "toning",
            "accept",
            "keep_times",
            "range",
            "salvage",
            "format",
            "label",
            "sidecar",
            "uncertainty",
        )
        parts = {name: getattr(self, name) for name in names}
        parts |= {"thumbnails": self.thumbnails, "signing": self.signing}
        return parts | {"pages": parse_pages(self.pages)}

    @property
    def merge_options(self) -> MergeOptions:
        """How the experts are merged. Raises ConfigError."""
        return MergeOptions(
            mode=self.merge,
            temperature=self.temperature,
            floor=self.floor,
            feather=self.feather,
            threshold=self.threshold,
            abstain=self.abstain,
            saturation=self.saturation,
        )

    @property
    def signing(self) -> Signing | None:
        """With what outputs are signed, if at all. Raises UsageError for a value that cannot be one."""
        if not self.certificates:
            return None
        return Signing(
            certificates=Path(self.certificates),
            key=Path(self.key),
            algorithm=self.signature,
            time_authority=self.time_authority,
        )


def dial(saturation: float | None, vivid: bool) -> float | None:
    """The saturation of the options --saturation and --vivid. Raises UsageError for both."""
    if vivid and saturation is not None:
        raise UsageError(
            f"Expected --saturation or --vivid, which is {VIVID:g}, got both. Leave one out."
        )
    return VIVID if vivid else saturation
