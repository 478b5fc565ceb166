"""Training as a user sees it: what is refused and how, categories apart, models for other programs."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command import actions, chromaflow, computed

from colorization.networks import build_network
from storage.records.checkpoints import load_checkpoint, save_checkpoint
from tasks.weights.models import starter_file

pytestmark = pytest.mark.usefixtures("shared_server")
UNTIL = ("--until", "train")


def weights_of(project: Path) -> dict[str, str]:
    found = (project.parent / "workspace/current/train").glob("*/weights.safetensors")
    return {path.parent.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


@pytest.mark.slow
def test_failed_categories_stop_no_other_and_are_retried_alone(
    project: Path, make_photo: Any
) -> None:
    photos = project.parent / "photos/people"
    for path in sorted(photos.iterdir())[3:]:
        path.unlink()
    (project.parent / "photos/birds").mkdir()
    more = project.read_text().replace("[datasets]", '[datasets]\nbirds = "photos/birds"')
    project.write_text(more)
    code, out, err = chromaflow("run", "--config", project, "--json", *UNTIL)
    assert code == 2, err
    failed = {failure["step"]: failure["error"] for failure in json.loads(out)["failures"]}
    assert set(failed) == {"preprocess/birds", "train/birds", "train/people"}
    assert "Expected usable photos of birds in " in failed["preprocess/birds"]
    assert "4 or more usable training photos of people" in failed["train/people"]
    assert "min_photos" in failed["train/people"]
    before = weights_of(project)
    assert set(before) == {"places"}
    for i in range(3, 14):
        make_photo(photos / f"{i:02d}.png", seed=i)
    steps = computed(project, *UNTIL, "--only", "people")
    assert steps["train/people"]["computed"] == 1 and "train/places" not in steps
    after = weights_of(project)
    assert set(after) == {"people", "places"} and after["places"] == before["places"]


@pytest.mark.slow
def test_wrong_networks_and_checkpoints_have_their_codes_and_overwrite_nothing(
    project: Path, tmp_path: Path
) -> None:
    computed(project, *UNTIL, "--only", "places")
    before, text = weights_of(project), project.read_text()
    words = ("train", "--config", project, "--only", "places")

    project.write_text(text.replace("epochs = 2", 'epochs = 2\nnetwork = "vgg16"'))
    code, _, err = chromaflow(*words)
    assert (
        code == 2
        and "resnet18, resnet18-trunk, unet18, unet18-layer3, unet18-stride4, unet-scene, eccv16"
        in err
    )

    torch.save(build_network("resnet18-trunk").state_dict(), tmp_path / "trunk.pth")
    from_file = text.replace('init = "starter"', 'init = "file"\ninit_weights = "{}"')
    project.write_text(from_file.format("trunk.pth"))
    code, _, err = chromaflow(*words)
    assert code == 3 and "Expected weights of unet-scene in " in err and "trunk.pth" in err

    whole = starter_file("places").path.read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[: len(whole) // 2])
    project.write_text(from_file.format("cut.safetensors"))
    code, _, err = chromaflow(*words)
    assert code == 7 and "cut short" in err and "Copy it again" in err

    project.write_text(from_file.format("none.safetensors"))
    code, _, err = chromaflow(*words)
    assert code == 2 and "none.safetensors" in err

    project.write_text(text.replace('init = "starter"', 'init = "imagenet"'))
    code, _, err = chromaflow(*words)
    assert code == 3 and "chromaflow models fetch torchvision:resnet18" in err
    assert weights_of(project) == before


@pytest.mark.slow
def test_fields_of_one_category_train_that_one_again(project: Path) -> None:
    computed(project, *UNTIL)
    before = weights_of(project)
    project.write_text(project.read_text() + "[train.categories.places]\nlearning_rate = 2e-3\n")
    again = computed(project, *UNTIL)
    assert {name for name, step in again.items() if step["computed"]} == {"train/places"}
    after = weights_of(project)
    assert [name for name in before if before[name] != after[name]] == ["places"]
    card = (project.parent / "workspace/current/train/places/card.md").read_text()
    assert "0.002" in card


PRETRAINING = """
[pretrain]
recipe = "scene"
[pretrain.overrides]
epochs = 1
batch = 4
crop = 32
"""


@pytest.mark.slow
def test_a_network_pretrained_on_all_categories_is_the_start_of_each(project: Path) -> None:
    text = project.read_text().replace('init = "starter"', 'init = "pretrained"')
    project.write_text(text + PRETRAINING)
    steps = computed(project, *UNTIL)
    trained = {"pretrain/shared", "train/people", "train/places"}
    assert {name for name in steps if "train" in name} == trained
    counts = {name: step["counts"] for name, step in steps.items()}
    assert counts["pretrain/shared"]["done"] == sum(
        counts[f"preprocess/{key}"]["train"] for key in ("people", "places")
    )
    current = project.parent / "workspace/current"
    shared = load_checkpoint(current / "pretrain/shared/weights.safetensors")
    experts = [
        load_checkpoint(current / f"train/{k}/weights.safetensors") for k in ("people", "places")
    ]
    for key, tensor in shared.tensors.items():  # the encoder stays, the decoders part
        same = [np.array_equal(tensor, expert.tensors[key]) for expert in experts]
        if key.startswith("encoder."):
            assert same == [True, True], key
    parted = [
        not np.array_equal(a, b)
        for a, b in zip(*(e.tensors.values() for e in experts), strict=True)
    ]
    assert any(parted)

    assert not any(step["computed"] for step in computed(project, *UNTIL).values())
    project.write_text(project.read_text().replace("crop = 32", "crop = 64"))
    again = computed(project, *UNTIL)
    redone = {name for name, step in again.items() if step["computed"]}
    assert redone == trained


JOINT = """
[pretrain]
recipe = "scene"
min_photos = 4
[pretrain.overrides]
epochs = 2
batch = 4
crop = 32
validate_every = 1
"""


def test_one_joint_training_gives_every_category_its_head(project: Path) -> None:
    text = project.read_text().replace('init = "starter"', 'init = "pretrained"')
    text = text.replace('recipe = "starter"', 'recipe = "scene"').replace(
        "epochs = 2", "epochs = 0"
    )
    project.write_text(text + JOINT)
    steps = computed(project, "--until", "evaluate")
    counts = {name: step["counts"] for name, step in steps.items()}
    assert counts["pretrain/shared"]["epochs"] == 2 and counts["train/people"]["epochs"] == 0
    current = project.parent / "workspace/current"
    joint = load_checkpoint(current / "pretrain/shared/weights.safetensors")
    assert joint.metadata["heads_without_photos"] == ["birds", "animals"]
    for number, name in ((0, "people"), (3, "places")):
        expert = load_checkpoint(current / f"train/{name}/weights.safetensors")
        assert expert.metadata["init"] == "pretrained" and expert.metadata["category"] == name
        for key, tensor in expert.tensors.items():
            whole = joint.tensors[key]
            if whole.shape != tensor.shape:
                whole = np.split(whole, 4)[number]
            assert np.array_equal(whole, tensor), key
    code, _, err = chromaflow(
        "models", "export", current / "pretrain/shared/weights.safetensors", "x.pt2"
    )
    assert code == 3 and "one category" in err and "epochs = 0" in err

    project.write_text(project.read_text() + "[train.categories.people]\nepochs = 1\n")
    redone = {name for name, (action, _) in actions(project).items() if action != "skip"}
    assert redone >= {"train/people", "evaluate/people"}
    assert not redone & {"pretrain/shared", "train/places", "evaluate/places"}


def test_the_plan_shows_how_32_cores_are_shared_by_four_categories(
    project: Path, make_photo: Any
) -> None:
    for category in ("birds", "animals"):
        make_photo(project.parent / "photos" / category / "a.png")
    more = '[datasets]\nbirds = "photos/birds"\nanimals = "photos/animals"'
    text = project.read_text().replace("[datasets]", more)
    project.write_text(text + '[compute]\ncores = 32\ndevice = "cpu"\n')
    code, out, err = chromaflow("plan", "--config", project, "--json")
    assert code == 0, err
    shared = {row["step"]: row["slots"] for row in json.loads(out)["steps"] if "slots" in row}
    assert len(shared) == 4
    for slots in shared.values():
        assert (slots["processes"], slots["threads"], slots["rounds"]) == (4, 8, 1)
    assert "train: 4 processes × 8 threads on CPU" in chromaflow("plan", "--config", project)[1]


@pytest.mark.slow
def test_models_are_shown_and_exported_with_a_check(tmp_path: Path, project: Path) -> None:
    code, out, err = chromaflow("models", "show", "starter:birds", "--json")
    assert code == 0, err
    shown = json.loads(out)
    assert shown["network"] == "unet-scene" and shown["parameters"] == 13_703_130
    assert shown["provenance"]["category"] == "birds"
    output = tmp_path / "birds.onnx"
    code, out, err = chromaflow("models", "export", "starter:birds", output, "--json")
    assert code == 0, err
    assert json.loads(out)["max_difference"] < 0.05
    import onnxruntime

    session = onnxruntime.InferenceSession(str(output), providers=["CPUExecutionProvider"])
    L_norm = np.linspace(-0.5, 0.5, 90 * 70, dtype=np.float32).reshape(1, 1, 90, 70)
    assert session.run(None, {"L_norm": L_norm})[0].shape == (1, 2, 90, 70)

    save_checkpoint(tmp_path / "odd.safetensors", {"x": np.zeros(3, np.float32)}, {}, half=False)
    code, _, err = chromaflow("models", "export", tmp_path / "odd.safetensors", tmp_path / "o.onnx")
    assert code == 3 and "of none of them" in err
    assert not (tmp_path / "o.onnx").exists()
    code, _, err = chromaflow("models", "export", "starter:birds", output, "--format", "caffe")
    assert code == 2 and "onnx, torchscript, torch-export" in err
    code, _, err = chromaflow("models", "show", "people", "--config", project)
    assert code == 3 and "chromaflow train --only people" in err


@pytest.mark.slow
@pytest.mark.parametrize("format_name", ["onnx", "torchscript", "torch-export"])
@pytest.mark.parametrize(
    "network",
    [
        "resnet18",
        "resnet18-trunk",
        "unet18",
        "unet-scene",
        "eccv16",
        "siggraph17",
        "iizuka16",
        "hypercolumn",
    ],
)
def test_every_network_is_exported_in_every_format(
    tmp_path: Path, network: str, format_name: str
) -> None:
    from tasks.weights.export import export_model

    torch.manual_seed(0)
    torch.save(build_network(network).state_dict(), tmp_path / "w.pth")
    exported = export_model(tmp_path / "w.pth", tmp_path / "out", format_name)
    assert exported.network == network and exported.max_difference < 1e-3
