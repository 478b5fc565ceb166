"""Put a workspace's trained experts into the package.

    python benchmarks/pack_starter.py WORKSPACE OUT   # the smallest

Each becomes <category>.safetensors in fp16 with a card <category>.md; what they share (the encoder
that they were fine-tuned on) lies once in shared.safetensors. Prints the size of all starter weights
in MB.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from colorization.categories import CATEGORY_NAMES
from storage.records.checkpoints import load_checkpoint, save_checkpoints
from storage.records.ledger import write_bytes
from storage.records.names import CARD_NAME, WEIGHTS_NAME


def main() -> None:
    """Pack all categories."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    trained = args.workspace / "current" / "train"
    checkpoints = {
        f"{category}.safetensors": load_checkpoint(trained / category / WEIGHTS_NAME)
        for category in CATEGORY_NAMES
    }
    save_checkpoints(args.out, checkpoints, shared="shared.safetensors", half=True)
    for category in CATEGORY_NAMES:
        card = (trained / category / CARD_NAME).read_bytes()
        write_bytes(args.out / f"{category}.md", card)
    size = sum(path.stat().st_size for path in args.out.glob("*.safetensors"))
    print(f"{size / 1e6:.1f}")


if __name__ == "__main__":
    main()
