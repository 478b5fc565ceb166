"""Put a workspace's trained experts into the package: python benchmarks/pack_starter.py WORKSPACE OUT.

Each becomes <category>.safetensors in fp16 with a card <category>.md. Without a trained checkpoint
in WORKSPACE a category is left as it is. Prints the size of all starter weights in MB.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from colorization.categories import CATEGORY_NAMES
from storage.checkpoints import CARD_NAME, WEIGHTS_NAME, load_checkpoint, save_checkpoint
from storage.ledger import write_bytes


def main() -> None:
    """Pack every category that is trained."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    for category in CATEGORY_NAMES:
        folder = args.workspace / "current" / "train" / category
        if (folder / WEIGHTS_NAME).exists():
            checkpoint = load_checkpoint(folder / WEIGHTS_NAME)
            target = args.out / f"{category}.safetensors"
            save_checkpoint(target, checkpoint.tensors, checkpoint.metadata, half=True)
            write_bytes(args.out / f"{category}.md", (folder / CARD_NAME).read_bytes())
    size = sum(path.stat().st_size for path in args.out.glob("*.safetensors"))
    print(f"{size / 1e6:.1f}")


if __name__ == "__main__":
    main()
