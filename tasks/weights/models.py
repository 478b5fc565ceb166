"""Where models lie on this machine: the package's starter weights and the torchvision cache."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from chromaflow.library.starter import starter_path
from colorization.categories import CATEGORY_NAMES, PAPER, Categories
from colorization.errors import ConfigError, ModelMissingError
from colorization.merging.segmenter_names import SEGMENTER_NAMES, is_import_path
from storage.records.fingerprint import hash_file
from storage.records.names import WEIGHTS_NAME
from storage.records.workspace import Workspace
from tasks.weights.releases import RELEASES, check_release, download

IMAGENET_ENCODER = "torchvision:resnet18"


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One weights file and whether it is here."""

    name: str
    path: Path

    @property
    def present(self) -> bool:
        """Whether the file is here."""
        return self.path.is_file()


def starter_file(name: str) -> ModelFile:
    """Weights that come with the package. name: a category of the paper, or 'segmenter'."""
    return ModelFile(f"starter:{name}", starter_path(name))


def starter_beside(category: str) -> Path | None:
    """The starter's weights that an expert is read against; None for a category that it does not know."""
    return require(starter_file(category)) if category in PAPER.names else None


def expert_files(
    datasets: Iterable[str], experts: Mapping[str, Path], categories: Categories = PAPER
) -> dict[str, ModelFile]:
    """The weights of every category that no dataset trains: named ones, else its parent's of the starter."""
    trained = set(datasets)
    return {
        name: ModelFile(f"expert:{name}", experts[name])
        if name in experts
        else starter_file(categories.parent(name))
        for name in categories.names
        if name not in trained
    }


def segmenter_file(name: str, weights: str = "") -> ModelFile:
    """The weights of a segmenter by name; `weights` overrides where they are.

    One's own segmenter without weights is its code. Raises ConfigError where it cannot be imported.
    """
    if name == "starter":
        return starter_file("segmenter")
    if weights:
        return ModelFile(name, Path(weights))
    if is_import_path(name):
        return ModelFile(name, segmenter_code(name))
    return ModelFile(name, cache_folder() / f"{name.split(':')[-1]}.pth")


def segmenter_weights(name: str, weights: str = "") -> tuple[Path, str]:
    """The file that a segmenter is, and what it is called with: empty for one's own code without weights.

    Raises ConfigError and ModelMissingError.
    """
    path = require(segmenter_file(name, weights))
    return path, "" if is_import_path(name) and not weights else str(path)


def segmenter_code(name: str) -> Path:
    """The file of one's own segmenter, MODULE:CLASS. Raises ConfigError where there is none."""
    module = name.partition(":")[0]
    try:
        spec = find_spec(module)
    except ImportError:
        spec = None
    if spec is None or not spec.origin:
        raise ConfigError(
            f"Expected segmenter {name} in a module that can be imported, found no {module}. Put its "
            "folder on PYTHONPATH."
        )
    return Path(spec.origin)


def cache_folder() -> Path:
    """Where fetched weights are kept: $CHROMAFLOW_CACHE, or ~/.cache/chromaflow."""
    return Path(os.environ.get("CHROMAFLOW_CACHE", Path.home() / ".cache" / "chromaflow"))


def scratch_folder() -> Path:
    """Where working copies of URLs are kept, in the cache; of all workers, where they are elsewhere."""
    return cache_folder().absolute() / "work"


def imagenet_encoder() -> ModelFile:
    """torchvision's ResNet-18 trained on ImageNet, in the cache."""
    return ModelFile(IMAGENET_ENCODER, cache_folder() / "resnet18.pth")


def require(model: ModelFile) -> Path:
    """The model's path.

    Raises ModelMissingError with the command that gets it, DamagedError when it is cut short, or a release
    that is not as it was published.
    """
    if model.present:
        from storage.records.checkpoints import check_whole  # takes numpy along

        check_whole(model.path)
        in_cache = model.path.parent == cache_folder()
        check_release(model.path, model.name if in_cache else "")
        return model.path
    remedies = {
        "torchvision": f"`chromaflow models fetch {model.name}` downloads it",
        "expert": "`chromaflow train` makes it, or name another file",
        "starter": "install the package again: it comes with it",
    }
    remedy = remedies.get(model.name.split(":")[0], "name a file that is there")
    raise ModelMissingError(
        f"Expected weights of {model.name} at {model.path}, found no file; {remedy}."
    )


def fetch(name: str) -> Path:
    """Download official torchvision weights into the cache, because the user asked.

    Raises ConfigError for a name that cannot be fetched, ModelMissingError when the network fails or
    what comes is not what was published.
    """
    segmenters = [known for known in SEGMENTER_NAMES if known.startswith("torchvision:")]
    fetchable = [*segmenters, IMAGENET_ENCODER]
    if name not in fetchable:
        raise ConfigError(f"Expected a model of {', '.join(fetchable)}; got {name!r}.")
    target = (imagenet_encoder() if name == IMAGENET_ENCODER else segmenter_file(name)).path
    return download(RELEASES[name], target)


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What a colorizer's weights file says of itself."""

    path: Path
    network: str
    parameters: int
    gflops: float
    """At 256 × 256, 10⁹ operations."""
    num_bytes: int
    sha256: str
    provenance: Mapping[str, Any]
    """As its trainer recorded it; empty for published releases."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "path": str(self.path),
            "network": self.network,
            "parameters": self.parameters,
            "gflops": round(self.gflops, 2),
            "bytes": self.num_bytes,
            "sha256": self.sha256,
            "provenance": dict(self.provenance),
        }


def find_model(
    name: str, workspace: Workspace | None = None, categories: Categories = PAPER
) -> Path:
    """A weights file by path, by `starter:CATEGORY`, or by a category trained in the workspace.

    categories: of the workspace's config. Raises ModelMissingError.
    """
    if name.startswith("starter:") and name.split(":", 1)[1] in CATEGORY_NAMES:
        return require(starter_file(name.split(":", 1)[1]))
    trained = workspace.current("train", name) / WEIGHTS_NAME if workspace else None
    if name in categories.names and trained is not None and trained.is_file():
        return trained.resolve()
    if name in categories.names:
        raise ModelMissingError(
            f"Expected trained weights of {name}, found none; `chromaflow train --only {name}` "
            f"makes them, or name starter:{categories.parent(name)} or a file."
        )
    path = Path(name)
    if not path.is_file():
        known = ", ".join(f"starter:{category}" for category in CATEGORY_NAMES)
        raise ModelMissingError(
            f"Expected a weights file, a trained category, or one of {known}; got {name}, which is "
            "no file. `chromaflow models list` lists what is here."
        )
    check_release(path)
    return path


def describe_model(path: Path) -> ModelInfo:
    """Load a colorizer and measure it. Raises DamagedError and WeightsMismatchError."""
    from chromaflow.library.networks import load_colorizer
    from colorization.networks.cost import network_cost

    network, metadata = load_colorizer(path, joint=True)
    cost = network_cost(network)
    provenance = {key: value for key, value in metadata.items() if key != "network"}
    return ModelInfo(
        path=path,
        network=metadata["network"],
        parameters=cost.parameters,
        gflops=cost.gflops,
        num_bytes=path.stat().st_size,
        sha256=hash_file(path),
        provenance=provenance,
    )
