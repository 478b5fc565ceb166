"""What a training recipe consists of, as small typed configs. Importing this imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from colorization.errors import ConfigError
from colorization.networks import (
    BINS,
    ENCODER,
    HINTS,
    LABELS,
    PALETTES,
    check_network,
    networks_that,
)

LOSSES = ("l2", "l1", "huber", "classification")
OPTIMIZERS = ("adam", "adamw")
SCHEDULES = ("step", "cosine", "constant")
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
PUBLISHED = ("best", "last")
_TERMS = ("semantic_prior", "scene", "perceptual", "colourfulness", "adversarial")
"""Fields of `Objective` that weigh a term beside the loss."""


def _one_of(field_name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ConfigError(f"Expected {field_name} of {', '.join(allowed)}; got {value!r}.")


def _at_least(field_name: str, value: float, least: float, *, excluded: bool = False) -> None:
    if value < least or (excluded and value == least):
        word = f"over {least}" if excluded else f"{least} or more"
        raise ConfigError(f"Expected {field_name} of {word}, got {value}.")


def _share(field_name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ConfigError(f"Expected {field_name} of 0..1, got {value}.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Objective:
    """What training minimises: a loss on colours, and terms beside it. A weight of 0 leaves a term out."""

    loss: str = "l2"
    """l2 (paper section 2.1), l1 or huber on ab in Lab units; classification of ab bins, with huber
    beside it where the network's ab does not come from them (siggraph17, as Zhang et al. 2017)."""
    huber_beta: float = 5.0
    """Where huber turns from square to straight, in Lab units."""
    temperature: float = 0.38
    """Of the annealed mean that turns bins into ab (Zhang et al. 2016, equation 5)."""
    rebalance: float = 0.5
    """Share of the uniform distribution in the prior by which rare bins count more; 1 counts all
    alike (Zhang et al. 2016, equation 4)."""
    semantic_prior: float = 0.0
    """Weight of −log p(ab | label, L) under the training photos (the paper's proposal, section 2.1)."""
    scene: float = 0.0
    """Weight of the label's cross-entropy, for networks that learn labels (Iizuka et al. 2016)."""
    perceptual: float = 0.0
    """Weight of the distance of VGG-16 features (Johnson et al. 2016)."""
    colourfulness: float = 0.0
    """Weight of the hinge towards the training photos' colourfulness."""
    adversarial: float = 0.0
    """Weight of a PatchGAN's verdict (Isola et al. 2017)."""
    loss_scale: float = 1.0
    """Factor on the whole; with Adam it only weighs the loss against weight_decay."""
    known: float = 0.7
    """For networks with palettes: weight of the colours of the true palette; those without one weigh 1."""
    palette_noise: float = 0.25
    """Standard deviation of what is added to the true palette, so that its neighbours mean the like."""
    palette_view: float = 0.5
    """Share of the batches whose palettes are told from a part of each photo, mirrored for half of them,
    so that a palette says what colours things have and not where on the picture they are."""
    palette_part: float = 0.5
    """Of height and width, what such a part has at least."""

    def __post_init__(self) -> None:
        _one_of("loss", self.loss, LOSSES)
        for name in ("huber_beta", "temperature", "loss_scale"):
            _at_least(name, getattr(self, name), 0, excluded=True)
        for name in (*_TERMS, "known", "palette_noise"):
            _at_least(name, getattr(self, name), 0)
        _share("palette_view", self.palette_view)
        for name in ("rebalance", "palette_part"):
            if not 0 < getattr(self, name) <= 1:
                raise ConfigError(f"Expected {name} over 0, up to 1; got {getattr(self, name)}.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Optimization:
    """How the weights move."""

    optimizer: str = "adam"
    weight_decay: float = 1e-3
    learning_rate: float = 1e-2
    """At the start; the decoder's, where encoder_lr_factor is not 1."""
    final_learning_rate: float = 1e-5
    encoder_lr_factor: float = 1.0
    """The encoder's share of the learning rate; under 1 where it starts from pretrained weights. 0
    freezes it, its BatchNorm too: networks fine-tuned from one file then share their encoder, and
    colorize runs it once."""
    schedule: str = "step"
    """step: equal plateaus, a factor 10 apart, from start to final rate. cosine: to the final rate."""
    fresh_each_epoch: bool = False
    """Whether the optimizer forgets its moments after each epoch, as the authors' code does."""
    clip_norm: float = 0.0
    """Largest norm of the gradient; 0 does not clip."""
    ema: float = 0.0
    """Decay of the moving average of the weights, a step; 0 keeps none. The average is validated
    and published."""

    def __post_init__(self) -> None:
        _one_of("optimizer", self.optimizer, OPTIMIZERS)
        _one_of("schedule", self.schedule, SCHEDULES)
        _at_least("clip_norm", self.clip_norm, 0)
        _at_least("weight_decay", self.weight_decay, 0)
        _at_least("encoder_lr_factor", self.encoder_lr_factor, 0)
        if not 0 <= self.ema < 1:
            raise ConfigError(f"Expected ema of 0 or more and under 1, got {self.ema}.")
        if not 0 < self.final_learning_rate <= self.learning_rate:
            raise ConfigError(
                "Expected 0 < final_learning_rate <= learning_rate, got "
                f"{self.final_learning_rate} and {self.learning_rate}."
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """How one colorizer is trained. Configs and cards name all fields flat, without the groups."""

    network: str
    """A name of `colorization.networks.NETWORK_NAMES`."""
    objective: Objective = field(default_factory=Objective)
    optimization: Optimization = field(default_factory=Optimization)
    epochs: int = 50
    """0: nothing is learnt; the weights stay what they start from."""
    batch: int = 64
    """Photos in a batch."""
    crop: int = 0
    """Side of a random crop taken out of the shard's photo at each visit, in pixels; 0 for none."""
    smallest_crop: float = 0.0
    """Over 0: the crop's side is drawn anew for each batch, between this share of the photo's side and
    all of it, and resized to `crop`; 0: it is `crop` pixels of the photo as they are."""
    horizontal_flip: float = 0.0
    """Probability of mirroring a photo at each visit, on top of what the shard did once."""
    lightness_jitter: float = 0.0
    """Largest natural logarithm of the gamma, and of the contrast, that L gets at each visit; its
    colours stay. Scans fade and darken as training photos do not."""
    wear: float = 0.0
    """Share of the photos whose L is worn as that of old ones is, anew at each visit: unsharp, faded,
    grainy, unevenly lit, scratched (`colorization.training.wear`); their colours stay."""
    hints: float = 0.0
    """Mean number of colour hints shown with a photo, for networks that take them; 0 shows none."""
    precision: str = "auto"
    """auto: bf16 where the processor or GPU multiplies it natively, else fp32. fp16: CUDA only."""
    compile: bool = False
    """torch.compile; it costs minutes before the first step (benchmarks/training.py measures it)."""
    publish: str = "best"
    """best: the epoch of the lowest validation ΔE00; last: the last one."""
    validate_every: int = 1
    """Epochs between two validations; the last epoch is always validated. `best` chooses among those
    that were."""
    patience: int = 0
    """Epochs without a lower validation ΔE00 after which training stops early; 0 never does."""

    def __post_init__(self) -> None:
        check_network(self.network)
        _one_of("precision", self.precision, PRECISIONS)
        _one_of("publish", self.publish, PUBLISHED)
        for name in ("batch", "validate_every"):
            _at_least(name, getattr(self, name), 1)
        for name in ("epochs", "patience", "hints", "lightness_jitter"):
            _at_least(name, getattr(self, name), 0)
        for name in ("horizontal_flip", "smallest_crop", "wear"):
            _share(name, getattr(self, name))
        if self.crop and (self.crop < 32 or self.crop % 32):
            raise ConfigError(f"Expected crop 0 or a multiple of 32, got {self.crop}.")
        self._require('loss = "classification"', self.classifies, BINS)
        self._require("scene", self.objective.scene > 0, LABELS)
        self._require("hints", self.hints > 0, HINTS)
        frozen = self.optimization.encoder_lr_factor == 0
        self._require("encoder_lr_factor = 0", frozen, ENCODER)
        if self.has_palettes:
            self._check_palettes()

    @property
    def classifies(self) -> bool:
        """Whether the loss is on ab bins."""
        return self.objective.loss == "classification"

    @property
    def has_palettes(self) -> bool:
        """Whether the network's colours follow a palette, so that it learns with and without one."""
        return self.network in networks_that(PALETTES)

    def to_dict(self) -> dict[str, Any]:
        """All fields, flat, as plain values, for fingerprints and cards."""
        flat = asdict(self)
        return {
            "network": flat.pop("network"),
            **flat.pop("objective"),
            **flat.pop("optimization"),
            **flat,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Recipe:
        """The inverse of `to_dict`; fields that are not given keep their defaults."""
        return build_recipe_from(cls(network="resnet18"), values)  # the defaults fit that one

    def _check_palettes(self) -> None:
        """What both ways through the decoder can and cannot learn from."""
        o = self.objective
        if o.loss != "huber":
            raise ConfigError(
                f'Expected loss = "huber" for network {self.network}, got {o.loss!r}. Take recipe = '
                '"scene", or another network.'
            )
        terms = [name for name in _TERMS if getattr(o, name)] + ["compile"] * self.compile
        if terms:
            raise ConfigError(
                f"Expected no {', '.join((*_TERMS, 'compile'))} for network {self.network}, got "
                f"{', '.join(terms)}. Take them out, or another network."
            )
        if self.batch < 2:
            raise ConfigError(
                f"Expected a batch of 2 or more for network {self.network}, whose palettes are told "
                f"apart within one; got {self.batch}."
            )

    def _require(self, what: str, wanted: bool, can: str) -> None:
        networks = networks_that(can)
        if wanted and self.network not in networks:
            raise ConfigError(
                f"Expected a network of {', '.join(networks)} for {what}, got {self.network!r}."
            )


def _fields_of(cls: type) -> set[str]:
    return {f.name for f in fields(cls)}


_OBJECTIVE, _OPTIMIZATION = _fields_of(Objective), _fields_of(Optimization)
RECIPE_KEYS = tuple(
    sorted((_fields_of(Recipe) - {"objective", "optimization"}) | _OBJECTIVE | _OPTIMIZATION)
)
"""All fields of a recipe, as configs name them."""


def build_recipe_from(recipe: Recipe, overrides: Mapping[str, Any]) -> Recipe:
    """A recipe with some fields replaced, named flat; what a user writes has been checked for types.

    Raises ConfigError naming the allowed ones.
    """
    for key in overrides:
        if key not in RECIPE_KEYS:
            raise ConfigError(f"Expected a recipe key of {', '.join(RECIPE_KEYS)}; got {key!r}.")

    def of(names: set[str]) -> dict[str, Any]:
        return {key: value for key, value in overrides.items() if key in names}

    return replace(
        recipe,
        objective=replace(recipe.objective, **of(_OBJECTIVE)),
        optimization=replace(recipe.optimization, **of(_OPTIMIZATION)),
        **of(set(RECIPE_KEYS) - _OBJECTIVE - _OPTIMIZATION),
    )
