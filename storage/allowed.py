"""Values that settings may have, apart from the modules that act on them.

Those import numpy, fsspec and all formats; a wrong setting is to be said before that.
"""

from __future__ import annotations

LAYOUTS = ("celeba", "cub200", "animals10", "places365", "imagefolder", "plain")
"""Of datasets (`storage.sources.datasets`), in the order in which auto tries them."""
MAX_TWIN_DISTANCE = 15
"""Between near duplicates, of 256 bits: of more, the bands of `storage.records.duplicates` grow too short
to tell photos apart."""
ALGORITHMS = ("es256", "es384", "es512", "ps256", "ps384", "ps512", "ed25519")
"""Of signatures (C2PA 2.4, Digital signatures): ECDSA on P-256, P-384 and P-521, RSASSA-PSS, Ed25519."""
