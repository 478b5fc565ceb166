"""Weights that others publish: where they lie, and whether a file is what was published.

Their names end in the first eight hexadecimal digits of the SHA-256 of their bytes, as torch.hub
has it; that is what a download and a file in the cache are checked against.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from colorization.errors import ModelMissingError
from storage.errors import DamagedError
from storage.records.fingerprint import hash_file
from storage.records.ledger import atomic_path

_TORCHVISION = "https://download.pytorch.org/models/"
_COLORIZERS = "https://colorizers.s3.us-east-2.amazonaws.com/"
_SECONDS, _BLOCK = 60, 1 << 20
"""Without a byte, after which a connection counts as lost; bytes read at a time."""
RELEASES = {
    "torchvision:deeplabv3_resnet101": f"{_TORCHVISION}deeplabv3_resnet101_coco-586e9e4e.pth",
    "torchvision:lraspp_mobilenet_v3_large": f"{_TORCHVISION}lraspp_mobilenet_v3_large-d234d4ea.pth",
    "torchvision:deeplabv3_mobilenet_v3_large": (
        f"{_TORCHVISION}deeplabv3_mobilenet_v3_large-fc3c493d.pth"
    ),
    "torchvision:resnet18": f"{_TORCHVISION}resnet18-f37072fd.pth",
    "torchvision:vgg16": f"{_TORCHVISION}vgg16-397923af.pth",
    "torchvision:alexnet": f"{_TORCHVISION}alexnet-owt-7be5be79.pth",
    "eccv16": f"{_COLORIZERS}colorization_release_v2-9b330a0b.pth",
    "siggraph17": f"{_COLORIZERS}siggraph17-df00044c.pth",
}
"""Name → address of the file."""
_BY_FILE_NAME = {address.rpartition("/")[2]: address for address in RELEASES.values()}


def download(address: str, target: Path) -> Path:
    """Fetch a release. Under its own name the file appears whole and checked, or not at all.

    address: of a file named NAME-<eight digits of its SHA-256>.pth. Raises ModelMissingError where
    the network fails or something else comes, OutputError where the disk does.
    """
    import pooch
    import requests  # what pooch fetches with

    get = pooch.HTTPDownloader(timeout=_SECONDS, chunk_size=_BLOCK)
    with atomic_path(target) as temporary:
        try:
            get(address, str(temporary), None)
        except requests.RequestException as error:
            raise ModelMissingError(
                f"Expected to download {address}, got: {error}. Try again, or copy the file to "
                f"{target} from elsewhere."
            ) from error
        found, expected = hash_file(temporary), published_hash(address)
        if not found.startswith(expected):
            raise ModelMissingError(
                f"Expected {address} with a SHA-256 that begins with {expected}, got "
                f"{_kind(temporary)} of {temporary.stat().st_size:,} bytes that begins with "
                f"{found[:8]}. Nothing was kept. Try again, without a proxy or a login page in between, "
                f"or copy the file to {target} from elsewhere."
            )
    return target


def check_release(path: Path, name: str = "") -> None:
    """Raise DamagedError where a file that goes by a release's name holds other bytes.

    name: of `RELEASES`, where the path does not say it, as in the cache. Files of any other name
    are their owner's business. A file is read once for as long as its stamps stay.
    """
    address = RELEASES.get(name) or _BY_FILE_NAME.get(path.name)
    if address is None:
        return
    now = path.stat()
    found = _hash_of(path, now.st_size, now.st_mtime_ns, now.st_ino)
    expected = published_hash(address)
    if not found.startswith(expected):
        again = f"`chromaflow models fetch {name}`" if name else f"download it from {address}"
        raise DamagedError(
            f"Expected {path} with a SHA-256 that begins with {expected}, as it was published; got one "
            f"that begins with {found[:8]}. Remove it and {again}; give other weights another name."
        )


def published_hash(address: str) -> str:
    """The digits that a file's name ends in: …/resnet18-f37072fd.pth → f37072fd."""
    return address.removesuffix(".pth").rpartition("-")[2]


@lru_cache(maxsize=32)
def _hash_of(path: Path, size: int, mtime_ns: int, inode: int) -> str:
    return hash_file(path)


def _kind(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(512).lstrip()
    return "a web page" if start.startswith(b"<") else "a file"
