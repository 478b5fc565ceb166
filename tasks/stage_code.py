"""Which code decides the output of each stage: what its fingerprint hashes."""

from __future__ import annotations

_STORAGE = (
    "storage.errors",
    "storage.fingerprint",
    "storage.ledger",
    "storage.manifest",
    "storage.visible",
)
_PHOTOS = (
    "storage.by_pillow",
    "storage.containers",
    "storage.exif",
    "storage.extraction",
    "storage.formats",
    "storage.iptc",
    "storage.jpeg",
    "storage.jpegxl",
    "storage.parsing",
    "storage.photos",
    "storage.profiles",
    "storage.tiff",
    "storage.tiff_directories",
)
_DECODER = ("storage.child_pipes", "storage.decoder", "storage.decoder_process")
_SOURCES = (
    "storage.archive_members",
    "storage.archives",
    "storage.bags",
    "storage.contents",
    "storage.entries",
    "storage.reading",
    "storage.source_files",
    "storage.sources",
    "storage.tar_archive",
    "storage.walk",
    "storage.zip_archive",
    "storage.zip_directory",
    "storage.zstd_stream",
)
_NETWORK = (
    "colorization.compute",
    "colorization.lab",
    "colorization.networks",
    "colorization.networks.contract",
    "storage.checkpoints",
    "storage.shard_file",
    "storage.shard_reader",
    "storage.shards",
    "tasks.jobs.loading",
    "tasks.jobs.models",
)
_TRAIN = (
    *_STORAGE,
    *_NETWORK,
    "colorization.bins",
    "colorization.feeding",
    "colorization.hints",
    "colorization.losses",
    "colorization.metrics",
    "colorization.networks.patchgan",
    "colorization.objective",
    "colorization.optimization",
    "colorization.perceptual",
    "colorization.recipes",
    "colorization.scores",
    "colorization.statistics",
    "colorization.training",
    "tasks.jobs.items",
    "tasks.jobs.stage_items",
    "tasks.jobs.train",
    "tasks.jobs.training_results",
    "tasks.jobs.training_state",
)
_ENCODER, _BINS = "colorization.networks.encoder", "colorization.bins"
_NETWORK_FILES: dict[str, tuple[str, ...]] = {
    "resnet18": ("resnet18", _ENCODER),
    "resnet18-trunk": ("resnet18_trunk", _ENCODER),
    "unet18": ("unet18", _ENCODER),
    "unet18-layer3": ("unet18", _ENCODER),
    "unet18-stride4": ("unet18", _ENCODER),
    "eccv16": ("eccv16", _BINS),
    "siggraph17": ("siggraph17", _BINS),
    "iizuka16": ("iizuka16",),
    "hypercolumn": ("hypercolumn", _ENCODER, _BINS),
}


def network_modules(name: str) -> tuple[str, ...]:
    """The modules of one network: another network's change does not train this one again."""
    own, *shared = _NETWORK_FILES[name]
    return (f"colorization.networks.{own}", *shared)


_ALL_NETWORKS = tuple(sorted({m for name in _NETWORK_FILES for m in network_modules(name)}))
STAGES: dict[str, tuple[int, tuple[str, ...]]] = {
    "ingest": (
        2,
        (
            *_STORAGE,
            *_PHOTOS,
            *_SOURCES,
            *_DECODER,
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
    "pretrain": (1, _TRAIN),
    "train": (2, _TRAIN),
    "evaluate": (
        1,
        (
            *_STORAGE,
            *_NETWORK,
            "colorization.feeding",
            "colorization.metrics",
            "colorization.scores",
            "colorization.training",
            "tasks.jobs.evaluate",
            "tasks.jobs.items",
            "tasks.jobs.stage_items",
        ),
    ),
    "colorize": (
        1,
        (
            *_STORAGE,
            *_PHOTOS,
            *_SOURCES,
            *_DECODER,
            *_NETWORK,
            *_ALL_NETWORKS,
            "colorization.appearance",
            "colorization.categories",
            "colorization.full_size",
            "colorization.deeplab",
            "colorization.hinting",
            "colorization.inference",
            "colorization.merge_options",
            "colorization.merging",
            "colorization.metrics",
            "colorization.segmentation",
            "colorization.segmenter_names",
            "colorization.toning",
            "storage.content_credentials",
            "storage.descriptions",
            "storage.embedding",
            "storage.encoding",
            "storage.labels",
            "storage.metadata",
            "storage.outputs",
            "storage.reduced",
            "storage.sheets",
            "storage.thumbnails",
            "storage.uncertainty",
            "storage.xmp",
            "tasks.colorize",
            "tasks.hints",
            "tasks.jobs.archive_photos",
            "tasks.jobs.colorize",
            "tasks.jobs.items",
            "tasks.jobs.ready",
            "tasks.jobs.sheet",
            "tasks.jobs.stage_items",
        ),
    ),
}
"""Stage → schema version of what it writes, and the modules whose code decides its output."""
STAGE_NAMES = tuple(STAGES)
