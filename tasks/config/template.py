"""The chromaflow.toml that `chromaflow init` writes."""

from __future__ import annotations

from pathlib import Path

from storage.errors import UsageError
from storage.records.ledger import write_bytes

TEMPLATE = """# Chromaflow: one file says it all. Relative paths start from this file's folder.
workspace = "workspace"
seed = 0

[datasets]                  # category = folder of colour photos; people, birds, animals, places, or own
people = "photos/people"
places = "photos/places"

[archive]                   # gray photos in, colour out
path = "archive"
output = "colorized"

[ingest]
val_share = 0.1             # held out by content hash

[preprocess]                # paper section 1.2
saturation = 1.2
horizontal_flip = 0.5
vertical_flip = 0.5

[train]
recipe = "starter"          # fine-tunes the starter; of one's own: default, paper, authors, scene
init = "starter"            # starter; scratch, imagenet; encoder or file with a weights file
license = "as the training photos allow; not stated"   # for the card of the weights

[train.overrides]
epochs = 4

[colorize]
segmenter = "starter"       # or torchvision:deeplabv3_resnet101, ..., MODULE:CLASS
merge = "soft"              # or hard, as in the paper
"""


def write_template(path: Path) -> None:
    """Write the template. Raises UsageError when a file is there already."""
    if path.exists():
        raise UsageError(f"Expected no file at {path}, found one. Choose another --config.")
    write_bytes(path, TEMPLATE.encode())
