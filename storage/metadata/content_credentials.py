"""Content Credentials: a signed C2PA manifest in a derivative, as the last step of writing it.

C2PA Technical Specification 2.4, by c2pa-python (an extra). The manifest holds a hash of all other
bytes of the file, so that nothing may be written to it afterwards. Nothing is fetched: neither
manifests that a photo's XMP points to nor lists of revoked certificates. A time-stamp authority is
asked only where one is named.
"""

from __future__ import annotations

import io
import json
import os
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from storage.containers.segments import png_chunk
from storage.containers.tiff_directories import TiffReader
from storage.errors import OutputError, PhotoError, UsageError
from storage.formats import sniff
from storage.metadata.derivative import CAPTION, Provenance
from storage.metadata.signing import Signing
from storage.metadata.xmp import COMPOSITE

FORMATS = {"JPEG": "image/jpeg", "PNG": "image/png", "TIFF": "image/tiff", "WEBP": "image/webp"}
"""Output format, of `storage.formats.FORMATS`, that a manifest is put into → its MIME type."""
ASSERTION = "org.chromaflow.colorization"
"""Label of our assertion: the original's and the checkpoints' hashes."""

_ORIGINALS = FORMATS | {
    "AVIF": "image/avif",
    "DNG": "image/x-adobe-dng",
    "GIF": "image/gif",
    "HEIF": "image/heif",
    "JXL": "image/jxl",
}
"""Formats of originals whose own manifests are read."""
_STORE = b"jumdc2pa\x00\x11\x00\x10\x80\x00\x00\xaa\x00\x38\x9b\x71"
"""What every manifest store holds at its start (a JUMBF description box, ISO/IEC 19566-5), whatever
the container."""
_KEY_USAGES = ("1.3.6.1.5.5.7.3.4", "1.3.6.1.5.5.7.3.36", "1.3.6.1.4.1.62558.2.1")
"""emailProtection, documentSigning, c2pa-kp-claimSigning (C2PA 2.4, Trust model)."""
_SETTINGS = {
    "core": {"allowed_network_hosts": []},
    "trust": {"trust_config": "\n".join(_KEY_USAGES)},
    "verify": {
        "ocsp_fetch": False,
        "remote_manifest_fetch": False,
        "verify_timestamp_trust": False,
        "verify_trust": False,
    },
    "builder": {"thumbnail": {"enabled": False}},
}
_LIBRARY_NAME = "C2PA_LIBRARY_NAME"
_INSTALL = "pip install 'chromaflow[c2pa]'"
_PROBE = b"".join(
    [
        b"\x89PNG\r\n\x1a\n",
        png_chunk(b"IHDR", b"\0\0\0\1\0\0\0\1\x08\0\0\0\0"),
        png_chunk(b"IDAT", zlib.compress(b"\0\0")),
        png_chunk(b"IEND", b""),
    ]
)
"""A picture of one pixel, to try a certificate on."""


def signable(format_name: str, num_pages: int = 1) -> bool:
    """Whether a derivative takes a manifest: of FORMATS, and a TIFF with one page only.

    To a TIFF of several pages C2PA adds a directory without a picture, which libtiff, tifffile and
    our own decoder take for damage: https://github.com/contentauth/c2pa-rs/issues/1894.
    """
    return format_name in FORMATS and num_pages == 1


def check_signing(signing: Signing) -> None:
    """Sign a pixel, to know before the first photo that certificate, key and authority work.

    Raises UsageError for a file that is missing, unreadable or does not fit, OutputError where the
    time-stamp authority gives no time, PhotoError CODEC_MISSING where c2pa-python is not installed.
    """
    library = _library()
    try:
        _try(library, signing)
    except library.C2paError as error:
        if signing.time_authority and _works(library, replace(signing, time_authority="")):
            raise OutputError(
                f"Expected a time stamp from {signing.time_authority}, got: {error}. Run again "
                "later, correct the URL, or leave the authority out."
            ) from error
        raise UsageError(
            f"Expected a certificate in {signing.certificates} that signs by {signing.algorithm} "
            f"with {signing.key}, got: {error}. Name the signer's certificate first: valid today, "
            "of no authority's own, for digital signatures, with emailProtection or "
            "documentSigning as extended key usage; and its own key."
        ) from error


def sign(
    content: bytes,
    format_name: str,
    signing: Signing,
    said: Provenance,
    original: bytes | None = None,
) -> bytes:
    """Put a signed manifest into an encoded derivative, metadata included. Returns the new file.

    content: some hundred MB at most, for twice as much is needed besides (JPEG: four times).
    original: its file's bytes, for a manifest of its own, which is kept inside ours with what was
    found of it. Where it has none, or one that cannot be read, its hash alone names it.
    Pixels and metadata stay; the bytes differ from call to call (random ids and salts).

    Raises UsageError for a format that is not of FORMATS, PhotoError MULTI_PAGE for a TIFF that is
    not `signable`, PhotoError DAMAGED for content not of its format; and what `check_signing` does.
    """
    mime, library = _mime(format_name), _library()
    try:
        signed = _signed(library, content, mime, signing, said, original)
    except library.C2paError as error:
        if _kind(original):
            return sign(content, format_name, signing, said)
        check_signing(signing)  # where that is at fault, the photo is not
        raise PhotoError(
            "DAMAGED", f"expected a whole {format_name} to put a manifest into, got: {error}"
        ) from error
    if format_name == "TIFF" and _num_pages(signed) != (num_pages := _num_pages(content)):
        raise PhotoError(
            "MULTI_PAGE", f"expected a TIFF of one page to sign, got {num_pages}; do not sign it"
        )
    return signed


def read_manifest(content: bytes, format_name: str) -> dict[str, Any]:
    """What the manifest of a derivative says, and whether it holds for these bytes.

    Returns `valid`: whether signature, certificate and hashes are right; `problems`: why not;
    `manifest`: in c2pa's words claim_generator_info, assertions, ingredients, signature_info;
    `colorization`: the content of our assertion. The last two are empty where none can be read.
    Anybody may sign: who did, signature_info says. Raises UsageError for a format that is not of
    FORMATS, PhotoError CODEC_MISSING.
    """
    mime, library = _mime(format_name), _library()
    try:
        with (
            library.Context.from_dict(_SETTINGS) as context,
            library.Reader(mime, io.BytesIO(content), None, context) as reader,
        ):
            store = json.loads(reader.json())
    except library.C2paError as error:
        return {"valid": False, "problems": [str(error)], "manifest": {}, "colorization": {}}
    manifest = store["manifests"].get(store["active_manifest"], {})
    said = [one.get("data") for one in manifest.get("assertions", []) if one["label"] == ASSERTION]
    failures = store.get("validation_status", [])
    return {
        "valid": store["validation_state"] in ("Valid", "Trusted"),
        "problems": [f"{one['code']}: {one.get('explanation', '')}" for one in failures],
        "manifest": manifest,
        "colorization": said[0] if said and isinstance(said[0], dict) else {},
    }


def _mime(format_name: str) -> str:
    if format_name not in FORMATS:
        raise UsageError(
            f"Expected a format of {', '.join(FORMATS)} for a manifest, got {format_name!r}. "
            "Choose one of these as output format, or do not sign."
        )
    return FORMATS[format_name]


def _kind(original: bytes | None) -> str | None:
    """The MIME type of an original that has a manifest of its own, if its format can be read."""
    if original is None or _STORE not in original:
        return None
    try:
        return _ORIGINALS.get(sniff(original))
    except PhotoError:
        return None


def _num_pages(content: bytes) -> int:
    return sum(1 for _ in TiffReader(io.BytesIO(content)).pages())


def _signed(
    library: Any,
    content: bytes,
    mime: str,
    signing: Signing,
    said: Provenance,
    original: bytes | None,
) -> bytes:
    """The signed content, read again and verified by the library. Raises its C2paError."""
    info = library.C2paSignerInfo(
        signing.algorithm,
        _pem(signing.certificates, "certificates"),
        _plain_key(signing.key),
        signing.time_authority or None,
    )
    target = io.BytesIO()
    with library.Context.from_dict(_SETTINGS, library.Signer.from_info(info)) as context:
        kind = _kind(original)
        parent = {
            "label": "original",
            "relationship": "parentOf",
            "title": "Original",
            "description": f"SHA-256 {said.original_sha256}",
        }
        claim = _claim(said) | ({} if kind else {"ingredients": [parent]})
        with library.Builder(claim, context) as builder:
            if kind:
                builder.add_ingredient(parent, kind, io.BytesIO(original or b""))
            builder.sign(mime, io.BytesIO(content), target)
    return target.getvalue()


def _claim(said: Provenance) -> dict[str, Any]:
    """The definition of a manifest (C2PA 2.4, Actions), without ingredients."""
    program = {"name": said.system, "version": said.version}
    opened = {"action": "c2pa.opened", "parameters": {"ingredientIds": ["original"]}}
    coloured = {
        "action": "c2pa.adjustedColor",  # c2pa.color_adjustments is its deprecated name
        "description": CAPTION,
        "digitalSourceType": COMPOSITE,
        "softwareAgent": program,
    }
    colorization = {
        "original": {"sha256": said.original_sha256},
        "checkpoints": [{"name": name, "sha256": sha256} for name, sha256 in said.checkpoints],
        **({"note": said.note} if said.note else {}),
    }
    return {
        "claim_generator_info": [program],
        "assertions": [
            {"label": "c2pa.actions.v2", "data": {"actions": [opened, coloured]}},
            {"label": ASSERTION, "data": colorization},
        ],
    }


def _pem(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"Expected {what} in {path}, got: {error.strerror or error}. Name the PEM file that "
            "holds them, and see that you may read it."
        ) from error


def _plain_key(path: Path) -> bytes:
    content = _pem(path, "the private key")
    try:
        return _as_pkcs8(content)
    except TypeError as error:  # so cryptography says that it wants a password
        raise UsageError(
            f"Expected a private key without a password in {path}, got one with. `openssl pkcs8 "
            "-topk8 -nocrypt -in KEY -out PLAIN` takes it off; keep that file to yourself."
        ) from error
    except ValueError as error:
        raise UsageError(
            f"Expected a private key in PEM in {path}, got something else. Name the key's file, "
            "which starts with -----BEGIN PRIVATE KEY-----."
        ) from error


@lru_cache(maxsize=1)  # to check an RSA key takes 40 ms
def _as_pkcs8(content: bytes) -> bytes:
    """A private key in the only form that the library takes. Raises ValueError, TypeError."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization

    try:
        key = serialization.load_pem_private_key(content, password=None)
    except UnsupportedAlgorithm as error:
        raise ValueError(str(error)) from error
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _try(library: Any, signing: Signing) -> None:
    nothing = Provenance(system="Chromaflow", version="0", original_sha256="", checkpoints=())
    _signed(library, _PROBE, FORMATS["PNG"], signing, nothing, None)


def _works(library: Any, signing: Signing) -> bool:
    try:
        _try(library, signing)
    except library.C2paError:
        return False
    return True


def _library() -> Any:
    """c2pa-python. Raises PhotoError CODEC_MISSING, with the command that installs it."""
    if find_spec("c2pa") is None:
        raise PhotoError("CODEC_MISSING", f"expected the package c2pa-python: {_INSTALL}")
    try:
        with _own_native_library():
            return import_module("c2pa")
    except (ImportError, OSError, RuntimeError) as error:
        raise PhotoError(
            "CODEC_MISSING", f"expected c2pa-python for this machine: {_INSTALL}; got: {error}"
        ) from error


@contextmanager
def _own_native_library() -> Iterator[None]:
    """Let c2pa load the native library that it was installed with.

    By itself it prefers one in the working folder, which may be an archive of somebody else's.
    """
    if "c2pa" in sys.modules or _LIBRARY_NAME in os.environ:
        yield
        return
    spec = find_spec("c2pa")
    folders = [Path(place, "libs") for place in (spec and spec.submodule_search_locations) or []]
    paths = [path for folder in folders for path in folder.glob("*c2pa_c.*")]
    for path in paths:
        if path.suffix in (".so", ".dylib", ".dll"):
            os.environ[_LIBRARY_NAME] = str(path)
    try:
        yield
    finally:
        os.environ.pop(_LIBRARY_NAME, None)
