"""With what derivatives are signed; how, says `storage.metadata.content_credentials`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from storage.allowed import ALGORITHMS
from storage.errors import UsageError


@dataclass(frozen=True, kw_only=True, slots=True)
class Signing:
    """With what derivatives are signed. Raises UsageError for a value that cannot be one."""

    certificates: Path
    """PEM: the signer's certificate first, then those of its authorities."""
    key: Path
    """PEM: the private key of the signer's certificate, without a password."""
    algorithm: str = "es256"
    """Of ALGORITHMS; the key must be one for it."""
    time_authority: str = ""
    """URL of an authority (RFC 3161) that is asked for the time of each signature; empty: none.
    Without it a signature holds no longer than the certificate does."""

    def __post_init__(self) -> None:
        if self.algorithm not in ALGORITHMS:
            raise UsageError(
                f"Expected an algorithm of {', '.join(ALGORITHMS)}; got {self.algorithm!r}."
            )
        if self.time_authority and not self.time_authority.startswith(("http://", "https://")):
            raise UsageError(
                f"Expected an http:// or https:// URL of a time-stamp authority, got "
                f"{self.time_authority!r}. Correct it, or leave it out."
            )
