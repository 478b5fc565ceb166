"""The stages: in which order, the version of what each writes, and whose code decides it."""

from __future__ import annotations

from collections.abc import Mapping

from colorization.networks import NETWORK_NAMES, network_module
from tasks.engine.stage_code import StageCode

_DECODER = "storage.photos.decoder_process"
"""Started as a process, never imported."""
_NETWORKS = tuple(sorted({network_module(name) for name in NETWORK_NAMES}))
_WORDS: dict[str, str] = {
    "colorization.errors": "words for people",
    "storage.records.names": "names of files: another one is a new schema",
    "tasks.jobs.machine": "how many threads, not what they compute",
}
_FROM_SHARDS: dict[str, str] = _WORDS | {
    "storage.sources": "shards are read here, no photos",
    "colorization.merging": "one network alone",
}
_LEARNING: dict[str, str] = _FROM_SHARDS | {
    "tasks.jobs.training.watch": "what people look at while it learns",
}
_TRAIN = StageCode(schema=3, roots=("tasks.jobs.training.train",), decides_nothing=_LEARNING)

STAGES: Mapping[str, StageCode] = {
    "ingest": StageCode(
        schema=3,
        roots=("tasks.ingest", "tasks.jobs.ingest", _DECODER),
        decides_nothing=_WORDS
        | {
            "storage.metadata.charsets": "metadata, which no manifest holds",
            "storage.metadata.xmp": "metadata, which no manifest holds",
        },
    ),
    "preprocess": StageCode(
        schema=3,
        roots=("tasks.preprocess", "tasks.jobs.preprocess"),
        decides_nothing=_WORDS
        | {
            "storage.metadata.charsets": "metadata, which training photos leave behind",
            "storage.metadata.xmp": "metadata, which training photos leave behind",
        },
    ),
    "pretrain": _TRAIN,
    "train": _TRAIN,
    "evaluate": StageCode(schema=2, roots=("tasks.jobs.evaluate",), decides_nothing=_FROM_SHARDS),
    "series": StageCode(
        schema=1,
        roots=("tasks.series", "tasks.jobs.series", _DECODER, *_NETWORKS),
        decides_nothing=_WORDS,
    ),
    "colorize": StageCode(
        schema=2,
        roots=(
            "tasks.colorize",
            "tasks.jobs.colorize",
            "tasks.jobs.sheet",
            "tasks.config.hints",
            _DECODER,
            *_NETWORKS,
        ),
        decides_nothing=_WORDS,
    ),
}
"""Stage → its code, in the order in which they run. The network of a category is added by its step."""
STAGE_NAMES = tuple(STAGES)
