"""[pretrain] and [train]: a recipe, what the weights start from, and recipe fields to replace."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import Annotated, Any, get_type_hints

from colorization.errors import ConfigError
from colorization.networks import ENCODER, check_network, networks_that
from colorization.training.recipe_fields import Objective, Optimization, Recipe
from colorization.training.recipes import RECIPES, build_recipe
from tasks.config.problems import Rule
from tasks.config.types import SEED, TableOf, TriedBy, check_rules, checked, one_of, whole

_WHOLE = ("pretrained", "starter", "file")
"""Inits that give a whole network, which may stay as it is."""
INITS = ("scratch", "encoder", "imagenet", *_WHOLE)
_BASE = Recipe(network="resnet18")


def _try_alone(key: str, value: Any) -> None:
    """Raise ConfigError for a value that no recipe takes; what hangs on other fields is tried later."""
    if key == "network":
        check_network(value)
        return
    parts = (_BASE.objective, _BASE.optimization)
    part: Any = next((part for part in parts if hasattr(part, key)), _BASE)
    try:
        replace(part, **{key: value})
    except ConfigError as error:
        if str(error).startswith(f"Expected {key} "):
            raise


def _recipe_fields() -> dict[str, Any]:
    """Recipe fields by their flat names, with their types and checks."""
    found: dict[str, Any] = {}
    for part in (Recipe, Objective, Optimization):
        hints = get_type_hints(part)
        for f in fields(part):
            if f.name not in ("objective", "optimization"):
                tried = TriedBy(partial(_try_alone, f.name))
                found[f.name] = Annotated[hints[f.name], tried]
    return found


_RECIPE_FIELDS = TableOf(_recipe_fields(), _BASE.to_dict())
Overrides = Annotated[dict[str, Any], _RECIPE_FIELDS]


@checked
@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """[train]: a recipe, what the weights start from, and fields of the recipe to replace."""

    recipe: Annotated[str, one_of(*RECIPES)] = "default"
    init: Annotated[str, one_of(*INITS)] = "scratch"
    """scratch; encoder: the resnet18 file in `encoder_weights`; imagenet: torchvision's resnet18,
    once `chromaflow models fetch torchvision:resnet18` got it; pretrained: what [pretrain] trained on
    all categories, of a network with heads the category's own; starter: the package's expert
    (fine-tune); file: the weights in `init_weights` (fine-tune). With epochs = 0 the last three stay as
    they are."""
    encoder_weights: str = ""
    """A resnet18 state dict as safetensors or .pth, for init = "encoder"."""
    init_weights: str = ""
    """Weights of the same network, ours or a published release, for init = "file"."""
    perceptual_weights: str = ""
    """A vgg16 state dict as safetensors or .pth, for recipes with perceptual over 0."""
    license: str = "as the training photos allow; not stated"
    """Of the trained weights, for the card."""
    min_photos: Annotated[int, whole(2)] = 8
    """A category with fewer usable training photos is refused."""
    overrides: Overrides = field(default_factory=dict)
    """Recipe fields by name, e.g. epochs = 1."""
    categories: dict[str, Overrides] = field(default_factory=dict)
    """Recipe fields of one category alone, over `overrides`: [train.categories.birds] epochs = 2."""
    seed: Annotated[int, SEED] = 0

    def __post_init__(self) -> None:
        rules = [self._file_rule(init, key) for init, key in _FILE_OF.items()]
        rules += self._recipe_rules(self.build_recipe(), "overrides", "")
        for category, own in self.categories.items():
            recipe = build_recipe(self.recipe, self.overrides | own)
            rules += self._recipe_rules(recipe, f"categories.{category}", f" (of {category})")
        check_rules(*rules)

    def _file_rule(self, init: str, key: str) -> Rule:
        named = getattr(self, key)
        do = f"Take {key} out." if named else f"Name the file, or choose another init than {init}."
        holds = (self.init == init) == bool(named)
        return Rule(holds, key, f'a file exactly when init = "{init}"', named, do)

    def _recipe_rules(self, recipe: Recipe, table: str, whose: str) -> list[Rule]:
        """What the other settings ask of a recipe. table: where its fields are set."""
        return [
            Rule(
                recipe.epochs > 0 or self.init in _WHOLE,
                f"{table}.epochs",
                f'1 or more with init = "{self.init}"{whose}',
                recipe.epochs,
                f"Write 1 or more, or below [train] an init of {', '.join(_WHOLE)}.",
            ),
            Rule(
                (recipe.objective.perceptual > 0) == bool(self.perceptual_weights),
                "perceptual_weights",
                f"a vgg16 file exactly when the recipe's perceptual{whose} is over 0",
                self.perceptual_weights,
                f"The recipe's perceptual is {recipe.objective.perceptual}: change one of the two.",
            ),
            Rule(
                self.init not in ("encoder", "imagenet")
                or recipe.network in networks_that(ENCODER),
                f"{table}.network",
                f'one of {", ".join(networks_that(ENCODER))} with init = "{self.init}"',
                recipe.network,
                "Choose another network or init.",
            ),
        ]

    def of(self, category: str) -> TrainConfig:
        """What one category is trained with."""
        own = self.categories.get(category, {})
        return replace(self, overrides=self.overrides | own, categories={})

    def build_recipe(self) -> Recipe:
        """The recipe with the overrides applied, those of categories left out."""
        return build_recipe(self.recipe, self.overrides)

    def result_parts(self) -> dict[str, Any]:
        """What decides the weights and their card, for the fingerprint; files count by their hash."""
        kept = {name: getattr(self, name) for name in ("init", "license", "seed")}
        return self.build_recipe().to_dict() | kept


_FILE_OF: Mapping[str, str] = {"encoder": "encoder_weights", "file": "init_weights"}
"""init → the setting that names its file."""


def check_pretraining(
    pretrain: TrainConfig | None, train: TrainConfig, num_categories: int = 0
) -> None:
    """Raise ConfigError where [pretrain] and [train] do not fit together.

    num_categories: of which there are datasets.
    """
    rules = [
        Rule(
            (train.init == "pretrained") == (pretrain is not None),
            "train.init",
            '"pretrained" exactly where there is a [pretrain]',
            train.init,
            'Write init = "pretrained" below [train].' if pretrain else "Add a [pretrain].",
        )
    ]
    if pretrain is not None:
        rules += _rules_of_pretraining(pretrain, train, num_categories)
    check_rules(*rules)


def _rules_of_pretraining(
    pretrain: TrainConfig, train: TrainConfig, num_categories: int
) -> list[Rule]:
    recipe = pretrain.build_recipe()
    allowed = [init for init in INITS if init not in ("pretrained", "starter")]
    trained = [train, *(train.of(category) for category in train.categories)]
    networks = sorted({config.build_recipe().network for config in (pretrain, *trained)})
    return [
        Rule(
            pretrain.init in allowed,
            "pretrain.init",
            f"one of {', '.join(allowed)}",
            pretrain.init,
            'Write init = "scratch" below [pretrain].',
        ),
        Rule(
            not pretrain.categories,
            "pretrain.categories",
            "none: one network learns all categories",
            pretrain.categories,
            "Move them below [train.categories].",
        ),
        Rule(
            len(networks) == 1,
            "pretrain.recipe",
            "one network in [pretrain] and [train]",
            " and ".join(networks),
            "Give both the same recipe.",
        ),
        Rule(
            recipe.epochs > 0,
            "pretrain.overrides.epochs",
            "1 or more",
            recipe.epochs,
            "Take [pretrain] out where nothing is learnt together.",
        ),
        Rule(
            not recipe.has_palettes or recipe.batch >= num_categories,
            "pretrain.overrides.batch",
            f"{num_categories} or more: each step has photos of every category",
            recipe.batch,
            "Write a larger batch below [pretrain.overrides].",
        ),
    ]
