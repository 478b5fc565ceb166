"""Which code decides the output of each stage: what its fingerprint hashes."""

from __future__ import annotations

_STORAGE = (
    "storage.errors",
    "storage.records.fingerprint",
    "storage.records.ledger",
    "storage.records.manifest",
    "storage.visible",
)
_PHOTOS = (
    "storage.photos.by_pillow",
    "storage.containers.segments",
    "storage.metadata.exif",
    "storage.metadata.extraction",
    "storage.formats",
    "storage.metadata.iptc",
    "storage.photos.jpeg",
    "storage.photos.jpegxl",
    "storage.containers.parsing",
    "storage.photos.photo",
    "storage.photos.profiles",
    "storage.photos.tiff",
    "storage.containers.tiff_directories",
)
_DECODER = ("storage.child_pipes", "storage.photos.decoder", "storage.photos.decoder_process")
_SOURCES = (
    "storage.sources.members",
    "storage.sources.archives",
    "storage.sources.bags",
    "storage.sources.contents",
    "storage.sources.entries",
    "storage.reading",
    "storage.sources.files",
    "storage.sources.source",
    "storage.sources.tars",
    "storage.sources.walk",
    "storage.sources.zips",
    "storage.sources.zip_directory",
    "storage.sources.zstd",
)
_NETWORK = (
    "colorization.compute",
    "colorization.colour.lab",
    "colorization.networks",
    "colorization.networks.contract",
    "storage.records.checkpoints",
    "storage.shards.file",
    "storage.shards.reader",
    "storage.shards.writing",
    "tasks.jobs.training.loading",
    "tasks.jobs.models",
)
_TRAIN = (
    *_STORAGE,
    *_NETWORK,
    "colorization.colour.bins",
    "colorization.training.feeding",
    "colorization.training.hints",
    "colorization.training.losses",
    "colorization.metrics.distances",
    "colorization.networks.patchgan",
    "colorization.training.objective",
    "colorization.training.optimization",
    "colorization.training.perceptual",
    "colorization.training.recipes",
    "colorization.metrics.scores",
    "colorization.training.statistics",
    "colorization.training.loop",
    "tasks.jobs.items",
    "tasks.jobs.stage_items",
    "tasks.jobs.training.train",
    "tasks.jobs.training.results",
    "tasks.jobs.training.state",
)
_ENCODER, _BINS = "colorization.networks.encoder", "colorization.colour.bins"
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
            "colorization.colour.lab",
            "colorization.colour.likeness",
            "colorization.metrics.distances",
            "storage.sources.catalogue",
            "storage.sources.datasets",
            "storage.records.duplicates",
            "storage.photos.reduced",
            "storage.records.selection",
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
            "colorization.training.augmentation",
            "colorization.colour.lab",
            "storage.photos.reduced",
            "storage.shards.file",
            "storage.shards.writing",
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
            "colorization.training.feeding",
            "colorization.metrics.distances",
            "colorization.metrics.scores",
            "colorization.training.loop",
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
            "colorization.metrics.appearance",
            "colorization.categories",
            "colorization.colour.full_size",
            "colorization.merging.deeplab",
            "colorization.merging.hinting",
            "colorization.merging.inference",
            "colorization.merging.options",
            "colorization.merging.merge",
            "colorization.metrics.distances",
            "colorization.merging.segmentation",
            "colorization.merging.segmenter_names",
            "colorization.colour.toning",
            "storage.metadata.content_credentials",
            "storage.metadata.descriptions",
            "storage.metadata.embedding",
            "storage.photos.encoding",
            "storage.pictures.labels",
            "storage.metadata.derivative",
            "storage.records.outputs",
            "storage.photos.reduced",
            "storage.pictures.sheets",
            "storage.pictures.thumbnails",
            "storage.pictures.uncertainty",
            "storage.metadata.xmp",
            "tasks.colorize",
            "tasks.config.hints",
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
