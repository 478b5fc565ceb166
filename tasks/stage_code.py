"""Which code decides the output of each stage: what its fingerprint hashes."""

from __future__ import annotations

_STORAGE = ("storage.errors", "storage.fingerprint", "storage.ledger", "storage.manifest")
_PHOTOS = ("storage.photos", "storage.png", "storage.tiff")
_SOURCES = ("storage.archives", "storage.entries", "storage.sources")
_TRAINING = (
    "colorization.compute",
    "colorization.lab",
    "colorization.networks",
    "colorization.networks.encoder",
    "colorization.networks.resnet18",
    "colorization.networks.unet18",
    "storage.checkpoints",
    "storage.shard_file",
    "storage.shard_reader",
    "storage.shards",
)
STAGES: dict[str, tuple[int, tuple[str, ...]]] = {
    "ingest": (
        2,
        (
            *_STORAGE,
            *_PHOTOS,
            *_SOURCES,
            "colorization.lab",
            "colorization.likeness",
            "colorization.metrics",
            "storage.catalogue",
            "storage.datasets",
            "storage.duplicates",
            "storage.reduced",
            "storage.selection",
            "tasks.ingest",
            "tasks.jobs.ingest",
            "tasks.jobs.items",
        ),
    ),
    "preprocess": (
        2,
        (
            *_STORAGE,
            *_PHOTOS,
            *_SOURCES,
            "colorization.augmentation",
            "colorization.lab",
            "storage.reduced",
            "storage.shard_file",
            "storage.shards",
            "tasks.jobs.items",
            "tasks.jobs.preprocess",
            "tasks.preprocess",
        ),
    ),
    "train": (
        1,
        (
            *_STORAGE,
            *_TRAINING,
            "colorization.losses",
            "colorization.metrics",
            "colorization.recipes",
            "colorization.scores",
            "colorization.training",
            "tasks.jobs.items",
            "tasks.jobs.models",
            "tasks.jobs.train",
        ),
    ),
    "evaluate": (
        1,
        (
            *_STORAGE,
            *_TRAINING,
            "colorization.metrics",
            "colorization.scores",
            "colorization.training",
            "tasks.jobs.evaluate",
            "tasks.jobs.items",
            "tasks.jobs.models",
            "tasks.jobs.train",
        ),
    ),
    "colorize": (
        1,
        (
            *_STORAGE,
            *_PHOTOS,
            *_SOURCES,
            *_TRAINING,
            "colorization.categories",
            "colorization.inference",
            "colorization.merging",
            "colorization.segmentation",
            "storage.outputs",
            "storage.reduced",
            "storage.sheets",
            "tasks.colorize",
            "tasks.jobs.colorize",
            "tasks.jobs.items",
            "tasks.jobs.models",
            "tasks.jobs.sheet",
        ),
    ),
}
"""Stage → schema version of what it writes, and the modules whose code decides its output."""
STAGE_NAMES = tuple(STAGES)
