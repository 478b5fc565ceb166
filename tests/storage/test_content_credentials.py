"""C2PA manifests in real derivatives, signed with certificates made here, verified by the library."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from PIL import Image

from storage.allowed import ALGORITHMS
from storage.errors import OutputError, PhotoError, UsageError
from storage.formats import OUTPUT_FORMATS
from storage.metadata.content_credentials import (
    ASSERTION,
    FORMATS,
    check_signing,
    read_manifest,
    sign,
    signable,
)
from storage.metadata.derivative import (
    CAPTION,
    Metadata,
    Placement,
    Provenance,
    derivative,
    read_metadata,
)
from storage.metadata.signing import Signing
from storage.photos.codec import Header
from storage.photos.codecs import CODECS
from storage.photos.encoding import ColoredPage, encode, srgb_profile
from storage.photos.photo import Photo
from storage.records.outputs import write_output

needs_c2pa = pytest.mark.skipif(
    find_spec("c2pa") is None,
    reason="c2pa-python is not installed: pip install 'chromaflow[c2pa]'",
)
needs_openssl = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="no openssl command, which is the time-stamp authority"
)

HEIGHT, WIDTH = 50, 70
PLACED = Placement(orientation=1, photo=(WIDTH, HEIGHT), size=(WIDTH, HEIGHT))
SAID = Provenance(
    system="Chromaflow",
    version="1.2.3",
    original_sha256="ab" * 32,
    checkpoints=(("people", "cd" * 32), ("places", "ef" * 32)),
    note="The original is truncated.",
)
COMPOSITE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
CASES = [
    ("JPEG", np.uint8, False),
    ("PNG", np.uint8, True),
    ("PNG", np.uint16, False),
    ("TIFF", np.uint8, False),
    ("TIFF", np.uint16, True),
    ("WEBP", np.uint8, False),
]
DOCUMENT_SIGNING = x509.ObjectIdentifier("1.3.6.1.5.5.7.3.36")
C2PA_SIGNING = x509.ObjectIdentifier("1.3.6.1.4.1.62558.2.1")
NATIVE = (".so", ".dylib", ".dll")
PEM = serialization.Encoding.PEM
TSA_CONFIG = """[tsa]
default_tsa = here
[here]
serial = {folder}/serial
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256, sha384, sha512
ess_cert_id_alg = sha256
"""


@dataclass(frozen=True)
class Made:
    """A certificate under an authority of its own, in PEM."""

    certificate: bytes
    authority: bytes
    key: Any

    @property
    def chain(self) -> bytes:
        return self.certificate + self.authority


def private_key(algorithm: str = "es256") -> Any:
    if algorithm == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    if algorithm.startswith("ps"):
        return rsa.generate_private_key(65537, 2048)
    curves = {"es256": ec.SECP256R1(), "es384": ec.SECP384R1(), "es512": ec.SECP521R1()}
    return ec.generate_private_key(curves[algorithm])


def made(
    algorithm: str = "es256",
    *,
    usage: x509.ObjectIdentifier = ExtendedKeyUsageOID.EMAIL_PROTECTION,
    days: float = 30,
) -> Made:
    authority, key = private_key(), private_key(algorithm)

    def certificate(name: str, public_key: Any, is_authority: bool) -> bytes:
        def distinguished(common: str) -> x509.Name:
            pairs = {NameOID.ORGANIZATION_NAME: "Museum", NameOID.COMMON_NAME: common}
            return x509.Name([x509.NameAttribute(*pair) for pair in pairs.items()])

        now = datetime.now(UTC)
        usages = dict.fromkeys(
            ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement"), False
        )
        extensions = [
            (x509.BasicConstraints(is_authority, None), True),
            (
                x509.KeyUsage(
                    digital_signature=not is_authority,
                    key_cert_sign=is_authority,
                    crl_sign=is_authority,
                    encipher_only=False,
                    decipher_only=False,
                    **usages,
                ),
                True,
            ),
            (x509.SubjectKeyIdentifier.from_public_key(public_key), False),
            (x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key()), False),
        ]
        if not is_authority:
            is_time = usage == ExtendedKeyUsageOID.TIME_STAMPING
            extensions.append((x509.ExtendedKeyUsage([usage]), is_time))
        builder = (
            x509.CertificateBuilder()
            .subject_name(distinguished(name))
            .issuer_name(distinguished("Authority"))
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=2))
            .not_valid_after(now + timedelta(days=days))
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        return builder.sign(authority, hashes.SHA256()).public_bytes(PEM)

    return Made(
        certificate("Anna", key.public_key(), False),
        certificate("Authority", authority.public_key(), True),
        key,
    )


def pem(
    key: Any,
    form: Any = serialization.PrivateFormat.PKCS8,
    lock: Any = serialization.NoEncryption(),  # noqa: B008
) -> bytes:
    return key.private_bytes(PEM, form, lock)


def stored(folder: Path, chain: bytes, key: bytes, **facts: Any) -> Signing:
    signing = Signing(certificates=folder / "chain.pem", key=folder / "key.pem", **facts)
    signing.certificates.write_bytes(chain)
    signing.key.write_bytes(key)
    return signing


@pytest.fixture(scope="session")
def signing(tmp_path_factory: Any) -> Signing:
    one = made()
    return stored(tmp_path_factory.mktemp("signing"), one.chain, pem(one.key))


@cache
def original_metadata() -> Metadata:
    exif = Image.Exif()
    exif[0x010E] = "Market, Lviv"
    exif.get_ifd(0x8769)[0x9003] = "1910:01:01 00:00:00"
    exif.get_ifd(0x8825)[2] = (49.0, 50.0, 25.0)
    return Metadata(exif=exif.tobytes().removeprefix(b"Exif\0\0"), dpi=(300, 300))


@cache
def encoded(name: str, dtype: Any = np.uint8, alpha: bool = False, num_pages: int = 1) -> bytes:
    """A derivative by the house's encoder, with EXIF, GPS, XMP and a profile."""

    def page(number: int) -> ColoredPage:
        noise = np.random.default_rng(number).random((HEIGHT, WIDTH, 3))
        rgb = np.rint(noise * np.iinfo(dtype).max).astype(dtype)
        header = Header(
            format=name,
            width=WIDTH,
            height=HEIGHT,
            mode="RGB",
            bits=8 * rgb.itemsize,
            num_pages=num_pages,
        )
        return ColoredPage(
            photo=Photo(header=header, pixels=rgb, alpha=rgb[..., 0] if alpha else None),
            strips=[rgb[:16], rgb[16:32], rgb[32:48], rgb[48:]],
            shape=(HEIGHT, WIDTH),
            metadata=derivative(original_metadata(), SAID, placement=PLACED),
        )

    file = io.BytesIO()
    encode(file, map(page, range(num_pages)), name)
    return file.getvalue()


def pixels(content: bytes, name: str) -> Any:
    if name == "TIFF":
        return tifffile.imread(io.BytesIO(content))
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)


def flipped(content: bytes, place: int) -> bytes:
    changed = bytearray(content)
    changed[place] ^= 1
    return bytes(changed)


def pixel_place(content: bytes, name: str) -> int:
    """Of a byte amid the pixel data."""
    if name == "TIFF":
        with tifffile.TiffFile(io.BytesIO(content)) as file:
            return int(file.pages[0].dataoffsets[0]) + 40
    marks = {"JPEG": b"\xff\xda", "PNG": b"IDAT", "WEBP": b"VP8L"}
    return content.rindex(marks[name]) + 100


def store_place(signed: bytes) -> int:
    """Where the manifest store begins, but for its frame."""
    return signed.index(b"jumdc2pa")


def assertion(manifest: dict[str, Any], label: str) -> Any:
    (found,) = [one["data"] for one in manifest["assertions"] if one["label"] == label]
    return found


def test_the_formats_are_those_that_format_allows():
    assert sorted(FORMATS) == sorted(name.upper() for name in OUTPUT_FORMATS)
    assert all(signable(name) for name in FORMATS)
    assert not any(signable(name) for name in ("BMP", "PPM", "JPEG2000", "JXL", "jpeg"))


@needs_c2pa
@pytest.mark.parametrize(("name", "dtype", "alpha"), CASES)
def test_a_signed_derivative_keeps_pixels_and_metadata_and_says_where_its_colours_come_from(
    signing, name, dtype, alpha
):
    content = encoded(name, dtype, alpha)
    signed = sign(content, name, signing, SAID)
    assert len(signed) > len(content)
    before, after = pixels(content, name), pixels(signed, name)
    assert after.dtype == dtype
    np.testing.assert_array_equal(after, before)
    metadata = read_metadata(name, signed)
    assert metadata == read_metadata(name, content)
    assert metadata.exif and metadata.profile == srgb_profile()
    assert CAPTION.encode() in metadata.xmp and SAID.original_sha256.encode() in metadata.xmp

    said = read_manifest(signed, name)
    assert said["valid"] and said["problems"] == []
    manifest = said["manifest"]
    generator = manifest["claim_generator_info"][0]
    assert (generator["name"], generator["version"]) == ("Chromaflow", "1.2.3")
    opened, coloured = assertion(manifest, "c2pa.actions.v2")["actions"]
    assert opened["action"] == "c2pa.opened"
    (parent,) = manifest["ingredients"]
    assert opened["parameters"]["ingredients"][0]["url"].endswith(parent["label"])
    assert parent["relationship"] == "parentOf" and SAID.original_sha256 in parent["description"]
    assert coloured["action"] == "c2pa.adjustedColor" and coloured["description"] == CAPTION
    assert coloured["digitalSourceType"] == COMPOSITE
    assert coloured["softwareAgent"] == {"name": "Chromaflow", "version": "1.2.3"}
    assert said["colorization"] == assertion(manifest, ASSERTION)
    assert said["colorization"] == {
        "original": {"sha256": "ab" * 32},
        "checkpoints": [
            {"name": "people", "sha256": "cd" * 32},
            {"name": "places", "sha256": "ef" * 32},
        ],
        "note": "The original is truncated.",
    }
    assert manifest["signature_info"]["issuer"] == "Museum"
    assert "time" not in manifest["signature_info"]


@needs_c2pa
@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP"])
def test_pillow_still_reads_exif_xmp_and_profile(signing, name):
    with Image.open(io.BytesIO(sign(encoded(name), name, signing, SAID))) as image:
        assert image.getexif()[0x010E].startswith("Market, Lviv")
        assert image.getexif().get_ifd(0x8769)[0x9003] == "1910:01:01 00:00:00"
        assert image.getexif().get_ifd(0x8825)[2] == (49.0, 50.0, 25.0)
        assert image.info["icc_profile"] == srgb_profile()
        packet = image.info["xmp"]
        assert COMPOSITE.encode() in packet


@needs_c2pa
@pytest.mark.parametrize(("name", "dtype", "alpha"), CASES)
def test_one_changed_bit_is_noticed(signing, name, dtype, alpha):
    signed = sign(encoded(name, dtype, alpha), name, signing, SAID)
    metadata, claim = signed.index(b"OriginalSHA256"), signed.index(b"cd" * 32, store_place(signed))
    for place, problem in (
        (pixel_place(signed, name), "assertion.dataHash.mismatch"),
        (metadata, "assertion.dataHash.mismatch"),
        (claim, "assertion.hashedURI.mismatch"),
    ):
        said = read_manifest(flipped(signed, place), name)
        assert not said["valid"]
        assert problem in str(said["problems"])


@needs_c2pa
@pytest.mark.parametrize("name", FORMATS)
def test_whatever_byte_changes_the_answer_is_an_answer(signing, name):
    content = encoded(name)
    signed = sign(content, name, signing, SAID)
    start, num_added = store_place(signed), len(signed) - len(content)
    num_tolerated = 0
    for place in range(0, len(signed), 53):
        said = read_manifest(flipped(signed, place), name)
        assert said["valid"] == (not said["problems"])
        if said[
            "valid"
        ]:  # in the room for a longer signature, or in a name of the manifest's boxes
            assert start - 40 <= place < start + num_added
            num_tolerated += 1
    assert num_tolerated < 30


@needs_c2pa
def test_a_manifest_whose_assertion_does_not_parse_is_told_like_any_other(signing):
    signed = sign(encoded("PNG"), "PNG", signing, SAID)
    place = signed.index(b"checkpoints", store_place(signed))
    said = [read_manifest(flipped(signed, place + i), "PNG") for i in range(-2, 60)]
    assert not any(one["valid"] for one in said) and all(one["problems"] for one in said)
    assert any(one["manifest"] for one in said) and not all(one["manifest"] for one in said)


@needs_c2pa
@pytest.mark.parametrize("name", FORMATS)
def test_without_a_manifest_nothing_is_valid(name):
    said = read_manifest(encoded(name), name)
    assert (said["valid"], said["manifest"], said["colorization"]) == (False, {}, {})
    assert "ManifestNotFound" in said["problems"][0]
    assert not read_manifest(b"not a photo", name)["valid"]


@needs_c2pa
def test_a_manifest_of_another_program_holds_but_has_no_assertion_of_ours(signing):
    import c2pa

    info = c2pa.C2paSignerInfo(
        "es256", signing.certificates.read_bytes(), signing.key.read_bytes(), None
    )
    created = {"action": "c2pa.created", "digitalSourceType": COMPOSITE}
    claim = {
        "assertions": [
            {"label": "c2pa.actions.v2", "data": {"actions": [created]}},
            {"label": ASSERTION, "data": ["not", "ours"]},
        ]
    }
    target = io.BytesIO()
    with (
        c2pa.Signer.from_info(info) as signer,
        c2pa.Builder(claim) as builder,
    ):
        builder.sign(signer, "image/png", io.BytesIO(encoded("PNG")), target)
    said = read_manifest(target.getvalue(), "PNG")
    assert said["valid"] and said["manifest"] and said["colorization"] == {}


@needs_c2pa
def test_the_last_step_of_writing_an_output(signing, tmp_path):
    content = encoded("JPEG")
    record = write_output(
        tmp_path, "a.jpg.color.jpg", lambda file: file.write(sign(content, "JPEG", signing, SAID))
    )
    written = (tmp_path / record.path).read_bytes()
    assert record.bytes == len(written) > len(content)
    assert read_manifest(written, "JPEG")["valid"]


@needs_c2pa
def test_a_big_tiff_is_signed(signing):
    file, rgb = io.BytesIO(), np.arange(300, dtype=np.uint16).reshape(10, 10, 3)
    tifffile.imwrite(file, rgb, photometric="rgb", bigtiff=True)
    signed = sign(file.getvalue(), "TIFF", signing, SAID)
    assert signed[2] == 43
    np.testing.assert_array_equal(pixels(signed, "TIFF"), rgb)
    assert read_manifest(signed, "TIFF")["valid"]


@needs_c2pa
@pytest.mark.slow
def test_three_hundred_megabytes_are_signed(signing):
    file = io.BytesIO()
    rgb = np.random.default_rng(0).integers(0, 65_536, (7000, 7200, 3), np.uint16)
    tifffile.imwrite(file, rgb, photometric="rgb", rowsperstrip=64)
    signed = sign(file.getvalue(), "TIFF", signing, SAID)
    assert len(signed) > 300e6 and read_manifest(signed, "TIFF")["valid"]
    assert not read_manifest(flipped(signed, 150_000_000), "TIFF")["valid"]


@needs_c2pa
def test_a_tiff_of_several_pages_is_refused_for_its_readers_would_refuse_it(signing):
    content = encoded("TIFF", np.uint8, num_pages=3)
    assert len(CODECS["TIFF"].pages(content)) == 3
    assert not signable("TIFF", 3)
    with pytest.raises(PhotoError, match="one page to sign, got 3; do not sign") as caught:
        sign(content, "TIFF", signing, SAID)
    assert caught.value.code == "MULTI_PAGE"


@needs_c2pa
@pytest.mark.parametrize("name", FORMATS)
def test_content_that_is_no_photo_is_the_photos_fault(signing, name):
    for content in (b"", b"hello", encoded(name)[:200]):
        with pytest.raises(PhotoError, match=f"DAMAGED: expected a whole {name}"):
            sign(content, name, signing, SAID)


@needs_c2pa
def test_other_formats_are_refused_with_those_that_are_not(signing):
    message = "Expected a format of JPEG, PNG, TIFF, WEBP .* got 'BMP'.*do not sign"
    with pytest.raises(UsageError, match=message):
        sign(encoded("BMP"), "BMP", signing, SAID)
    with pytest.raises(UsageError, match=message):
        read_manifest(encoded("BMP"), "BMP")


@needs_c2pa
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_signs(tmp_path, algorithm):
    one = made(algorithm)
    signing = stored(tmp_path, one.chain, pem(one.key), algorithm=algorithm)
    check_signing(signing)
    said = read_manifest(sign(encoded("JPEG"), "JPEG", signing, SAID), "JPEG")
    assert said["valid"]
    assert said["manifest"]["signature_info"]["alg"].lower() == algorithm


@needs_c2pa
@pytest.mark.parametrize("algorithm", ["es256", "ps256"])
def test_keys_as_openssl_writes_them_do_too(tmp_path, algorithm):
    one = made(algorithm)
    key = pem(one.key, serialization.PrivateFormat.TraditionalOpenSSL)
    assert b"-----BEGIN PRIVATE KEY-----" not in key
    check_signing(stored(tmp_path, one.chain, key, algorithm=algorithm))


@needs_c2pa
@pytest.mark.parametrize(
    "usage", [ExtendedKeyUsageOID.EMAIL_PROTECTION, DOCUMENT_SIGNING, C2PA_SIGNING]
)
def test_certificates_for_mail_documents_and_claims_sign(tmp_path, usage):
    one = made(usage=usage)
    signing = stored(tmp_path, one.chain, pem(one.key))
    check_signing(signing)
    assert read_manifest(sign(encoded("PNG"), "PNG", signing, SAID), "PNG")["valid"]


def _bad_credentials() -> dict[str, Any]:
    def other_key() -> tuple[bytes, bytes]:
        return made().chain, pem(private_key())

    def server() -> tuple[bytes, bytes]:
        one = made(usage=ExtendedKeyUsageOID.SERVER_AUTH)
        return one.chain, pem(one.key)

    def expired() -> tuple[bytes, bytes]:
        one = made(days=-1)
        return one.chain, pem(one.key)

    def authority_first() -> tuple[bytes, bytes]:
        one = made()
        return one.authority + one.certificate, pem(one.key)

    def other_algorithm() -> tuple[bytes, bytes]:
        one = made("ed25519")
        return one.chain, pem(one.key)

    def no_certificate() -> tuple[bytes, bytes]:
        return b"hello", pem(private_key())

    cases = (other_key, server, expired, authority_first, other_algorithm, no_certificate)
    return {case.__name__: case for case in cases}


@needs_c2pa
@pytest.mark.parametrize("case", _bad_credentials())
def test_credentials_that_do_not_fit_are_told_before_the_first_photo(tmp_path, case):
    signing = stored(tmp_path, *_bad_credentials()[case]())
    with pytest.raises(UsageError) as caught:
        check_signing(signing)
    message = str(caught.value)
    assert str(signing.certificates) in message and str(signing.key) in message
    assert "Expected a certificate" in message and "got: " in message
    assert "emailProtection" in message
    with pytest.raises(UsageError, match="Expected a certificate"):
        sign(encoded("JPEG"), "JPEG", signing, SAID)


@needs_c2pa
@pytest.mark.parametrize("field", ["certificates", "key"])
def test_a_missing_file_is_named(tmp_path, field):
    one = made()
    signing = stored(tmp_path, one.chain, pem(one.key))
    path = getattr(signing, field)
    path.unlink()
    with pytest.raises(UsageError, match=f"{path}, got: No such file.*Name the PEM file"):
        check_signing(signing)
    path.mkdir()
    with pytest.raises(UsageError, match=f"{path}, got: Is a directory"):
        sign(encoded("PNG"), "PNG", signing, SAID)


@needs_c2pa
def test_a_locked_or_broken_key_says_what_to_do_and_nothing_of_the_key(tmp_path):
    one = made()
    locked = pem(one.key, lock=serialization.BestAvailableEncryption(b"secret"))
    with pytest.raises(UsageError, match="without a password in .*openssl pkcs8"):
        check_signing(stored(tmp_path, one.chain, locked))
    lines = pem(one.key).splitlines(keepends=True)
    for broken in (b"", b"hello", one.chain, b"".join([lines[0], lines[1][:20], lines[-1]])):
        with pytest.raises(UsageError, match="private key in PEM in .*BEGIN PRIVATE KEY") as caught:
            check_signing(stored(tmp_path, one.chain, broken))
        assert lines[1][:20].decode() not in str(caught.value)


def test_values_that_cannot_be_right_are_refused_at_once(tmp_path):
    paths = {"certificates": tmp_path / "a.pem", "key": tmp_path / "b.pem"}
    with pytest.raises(UsageError, match="es256, .*ed25519; got 'rsa'"):
        Signing(**paths, algorithm="rsa")
    with pytest.raises(UsageError, match="http.* got 'tsa.example'.*leave it out"):
        Signing(**paths, time_authority="tsa.example")


def test_a_missing_package_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "c2pa", None)
    signing = stored(tmp_path, b"", b"")
    for call in (
        lambda: check_signing(signing),
        lambda: sign(encoded("PNG"), "PNG", signing, SAID),
        lambda: read_manifest(encoded("PNG"), "PNG"),
    ):
        with pytest.raises(PhotoError) as caught:
            call()
        assert caught.value.code == "CODEC_MISSING"
        assert "c2pa-python: pip install 'chromaflow[c2pa]'" in caught.value.detail


@needs_c2pa
@pytest.mark.parametrize("name", FORMATS)
def test_a_manifest_of_the_original_is_kept(signing, name):
    original = sign(encoded(name), name, signing, SAID)
    label = read_manifest(original, name)["manifest"]["label"]
    signed = sign(encoded("JPEG"), "JPEG", signing, SAID, original)
    said = read_manifest(signed, "JPEG")
    (parent,) = said["manifest"]["ingredients"]
    assert said["valid"] and parent["active_manifest"] == label
    assert parent["validation_results"]["activeManifest"]["failure"] == []


@needs_c2pa
def test_what_is_wrong_with_the_manifest_of_the_original_is_kept_too(signing):
    original = sign(encoded("PNG"), "PNG", signing, SAID)
    changed = flipped(original, pixel_place(original, "PNG"))
    said = read_manifest(sign(encoded("JPEG"), "JPEG", signing, SAID, changed), "JPEG")
    (parent,) = said["manifest"]["ingredients"]
    (failure,) = parent["validation_results"]["activeManifest"]["failure"]
    assert said["valid"] and failure["code"] == "assertion.dataHash.mismatch"


@needs_c2pa
def test_an_original_without_a_readable_manifest_is_named_by_its_hash(signing):
    whole = sign(encoded("JPEG"), "JPEG", signing, SAID)
    plain, short, odd = encoded("JPEG"), whole[:2500], b"%PDF-1.7" + whole
    broken = whole.replace(b"jumdc2cl", b"jumdxxxx")
    assert not read_manifest(broken, "JPEG")["manifest"]
    for original in (None, plain, short, odd, broken):
        said = read_manifest(sign(encoded("PNG"), "PNG", signing, SAID, original), "PNG")
        (parent,) = said["manifest"]["ingredients"]
        assert said["valid"] and "active_manifest" not in parent
        assert parent["description"] == f"SHA-256 {SAID.original_sha256}"


@contextmanager
def serving(answer: Any) -> Any:
    """A web server here, and the requests that it got. answer: body → content type and body."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def _reply(self) -> None:
            asked.append(f"{self.command} {self.path}")
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            kind, reply = answer(body)
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        do_GET = do_POST = _reply

        def log_message(self, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@needs_c2pa
def test_nothing_is_fetched_for_a_photo_that_points_to_a_manifest(signing):
    import c2pa

    with serving(lambda body: ("application/c2pa", b"hello")) as (address, asked):
        packet = (
            '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
            '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
            '<rdf:Description rdf:about="" xmlns:dcterms="http://purl.org/dc/terms/" '
            f'dcterms:provenance="{address}/manifest"/></rdf:RDF></x:xmpmeta>'
        )
        file = io.BytesIO()
        Image.new("RGB", (8, 8)).save(file, "JPEG", xmp=packet.encode())
        pointing = file.getvalue()
        assert not read_manifest(pointing, "JPEG")["valid"]
        marked = pointing + b"jumdc2pa\0\x11\0\x10\x80\0\0\xaa\0\x38\x9b\x71"
        signed = sign(pointing, "JPEG", signing, SAID, marked)
        assert read_manifest(signed, "JPEG")["valid"]
        assert asked == []
        with pytest.raises(c2pa.C2paError):
            c2pa.Reader("image/jpeg", io.BytesIO(pointing))
        assert asked == ["GET /manifest"]  # the library alone does fetch


@needs_c2pa
@needs_openssl
def test_a_named_time_authority_is_asked_and_its_time_kept(tmp_path):
    authority = made("ps256", usage=ExtendedKeyUsageOID.TIME_STAMPING)
    files = {
        "serial": b"01\n",
        "tsa.pem": authority.certificate,
        "authority.pem": authority.authority,
        "tsa.key": pem(authority.key),
        "tsa.cnf": TSA_CONFIG.format(folder=tmp_path).encode(),
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)

    def stamp(query: bytes) -> tuple[str, bytes]:
        (tmp_path / "query").write_bytes(query)
        command = ["openssl", "ts", "-reply", "-config", "tsa.cnf", "-section", "here"]
        command += ["-queryfile", "query", "-signer", "tsa.pem", "-inkey", "tsa.key"]
        command += ["-chain", "authority.pem"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True)
        return "application/timestamp-reply", done.stdout

    one = made()
    with serving(stamp) as (address, asked):
        signing = stored(tmp_path, one.chain, pem(one.key), time_authority=address + "/tsa")
        check_signing(signing)
        signed = sign(encoded("JPEG"), "JPEG", signing, SAID)
        assert asked == ["POST /tsa"] * 2
    said = read_manifest(signed, "JPEG")
    assert said["valid"]
    time = datetime.fromisoformat(said["manifest"]["signature_info"]["time"])
    assert abs(datetime.now(UTC) - time) < timedelta(minutes=5)


@needs_c2pa
def test_a_time_authority_without_a_time_is_neither_the_photos_nor_the_keys_fault(tmp_path):
    one = made()
    with serving(lambda body: ("text/plain", b"closed")) as (address, asked):
        signing = stored(tmp_path, one.chain, pem(one.key), time_authority=address)
        for call in (
            lambda: check_signing(signing),
            lambda: sign(encoded("JPEG"), "JPEG", signing, SAID),
        ):
            message = f"Expected a time stamp from {address}, got: .*leave the authority out"
            with pytest.raises(OutputError, match=message):
                call()
        assert asked
        broken = stored(tmp_path, made().chain, pem(one.key), time_authority=address)
        with pytest.raises(UsageError, match="Expected a certificate"):
            check_signing(broken)


@needs_c2pa
def test_no_native_library_of_the_working_folder_is_loaded(tmp_path):
    """An archive may hold one: c2pa-python would load it, and run it, before its own."""
    package = Path(find_spec("c2pa").submodule_search_locations[0])
    (native,) = [path for path in package.glob("libs/*c2pa_c.*") if path.suffix in NATIVE]
    (tmp_path / native.name).symlink_to(native)
    command = (
        "import os; from storage.metadata.content_credentials import read_manifest; "
        "read_manifest(b'', 'PNG'); import c2pa.c2pa; print(c2pa.c2pa._lib._name); "
        "assert 'C2PA_LIBRARY_NAME' not in os.environ"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", command],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(done.stdout.strip()).parent == native.parent
