"""Networks from weights files."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from colorization.categories import CATEGORY_NAMES, Categories
from colorization.errors import WeightsMismatchError
from colorization.networks import NETWORK_NAMES, build_network
from colorization.networks.contract import Colorizer, PaletteColorizer
from storage.errors import DamagedError
from storage.records.checkpoints import load_checkpoint

_FILLS = {
    torch.Tensor.normal_,
    torch.Tensor.uniform_,
    nn.init.kaiming_normal_,
    nn.init.kaiming_uniform_,
    nn.init.uniform_,
}


class _Unfilled(TorchFunctionMode):
    """Networks that are made within have weights of any value: drawing them would take longer than
    reading those of a file."""

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        named = kwargs or {}
        return [*args, *named.values()][0] if func in _FILLS else func(*args, **named)


def load_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """A state dict and its provenance, from safetensors, or from .pth without running pickle code.

    Raises DamagedError for a broken file.
    """
    if path.suffix == ".safetensors":
        checkpoint = load_checkpoint(path)
        return tensors(checkpoint.tensors), checkpoint.metadata
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        raise DamagedError(
            f"Expected a state dict of tensors in {path}, got: {str(error)[:200]}. Copy the file again."
        ) from error
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        raise WeightsMismatchError(
            f"Expected a state dict of tensors in {path}, got something else."
        )
    return dict(state), {}


def identify_network(state: Mapping[str, Tensor], path: Path) -> str:
    """The registered network that a state dict belongs to, by its keys and shapes.

    Published releases do not say which network they hold. Raises WeightsMismatchError.
    """
    shapes = {key: value.shape for key, value in state.items()}
    for name in NETWORK_NAMES:
        with torch.device("meta"):
            own = build_network(name).state_dict()
        if shapes == {key: value.shape for key, value in own.items()}:
            return name
    raise WeightsMismatchError(
        f"Expected weights of a network of {', '.join(NETWORK_NAMES)} in {path}, got the keys "
        f"{', '.join(list(shapes)[:3])}, … of none of them."
    )


def load_colorizer(path: Path, *, joint: bool = False) -> tuple[Colorizer, dict[str, Any]]:
    """A trained colorizer in eval mode, and its provenance.

    path: our weights, or a published release of a registered network (.pth). joint: whether a network
    of several categories' heads is taken too. Raises DamagedError for a broken file,
    WeightsMismatchError for weights of another network.
    """
    state, metadata = load_weights(path)
    name = metadata.get("network") or identify_network(state, path)
    with _Unfilled():
        network = build_network(name, num_classes=metadata.get("num_classes", 0))
    num_heads = network.heads_of(state) if isinstance(network, PaletteColorizer) else 1
    if num_heads > 1:
        if not joint:
            raise WeightsMismatchError(
                f"Expected weights of one category in {path}, got a network of {num_heads} "
                'categories\' heads. `chromaflow train` with init = "file" and epochs = 0 cuts a '
                "category's out of it."
            )
        with _Unfilled():
            network = build_network(name, num_heads=num_heads)
    load_state(network, state, path, name)
    return network.eval(), {"network": name, **metadata}


def category_state(
    network: PaletteColorizer,
    state: Mapping[str, Tensor],
    metadata: Mapping[str, Any],
    category: str,
    path: Path,
    *,
    learns: bool,
    parent: str = "",
) -> dict[str, Tensor]:
    """One category's state dict: its head's, where the weights hold those of several.

    metadata: of the weights. learns: whether the head is only a start. parent: whose head it is instead,
    where the category has none. Raises WeightsMismatchError where there is neither, or where the head
    has learnt nothing and is not to.
    """
    if network.heads_of(state) < 2:
        return dict(state)
    names = list(metadata.get("heads", CATEGORY_NAMES))
    category = category if category in names or parent not in names else parent
    if category not in names or len(names) != network.heads_of(state):
        raise WeightsMismatchError(
            f"Expected a head of {category} in {path}, got {network.heads_of(state)} of "
            f"{', '.join(names)}. Name weights that were trained with {category}."
        )
    without = metadata.get("heads_without_photos", ())
    if category in without and not learns:
        known = ", ".join(name for name in names if name not in without)
        raise WeightsMismatchError(
            f"Expected a head of {category} that has learnt in {path}; only those of {known} have. "
            f"Give {category} one epoch or more."
        )
    return network.head_of(state, names.index(category))


def joint_state(
    network: PaletteColorizer,
    state: Mapping[str, Tensor],
    metadata: Mapping[str, Any],
    every: Categories,
    path: Path,
) -> dict[str, Tensor]:
    """The state dict of a network with a head for every category, from weights with those of others.

    Each gets the head of its name, else its parent's. Raises WeightsMismatchError where there is neither.
    """
    if network.heads_of(state) < 2 or list(metadata.get("heads", CATEGORY_NAMES)) == [*every.names]:
        return dict(state)
    parts = [
        category_state(network, state, metadata, name, path, learns=True, parent=every.parent(name))
        for name in every.names
    ]
    shapes = {key: value.shape for key, value in network.state_dict().items()}
    return {
        key: value if value.shape == shapes.get(key) else torch.cat([part[key] for part in parts])
        for key, value in parts[0].items()
    }


def load_state(network: nn.Module, state: Mapping[str, Tensor], path: Path, name: str) -> None:
    """Load a state dict strictly. Raises WeightsMismatchError naming file and network."""
    try:
        network.load_state_dict(dict(state))
    except RuntimeError as error:
        raise WeightsMismatchError(
            f"Expected weights of {name} in {path}, got others: {str(error)[:200]}. "
            "Name the network that they were trained with."
        ) from error


def tensors(arrays: Mapping[str, Any]) -> dict[str, Tensor]:
    """A state dict of arrays as tensors."""
    return {key: torch.from_numpy(value) for key, value in arrays.items()}
