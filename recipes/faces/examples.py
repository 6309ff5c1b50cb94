"""Make the demo images: copy the images of examples.csv, in the format that their name has.

    node render.mjs OUT --seed 100000 --per-class 14
    python examples.py OUT ../../examples

The seed gives characters that the training images do not have. The characters of react-kawaii repeat, so examples.csv names only
things that the training images lack. The red panda and gopher images come from other projects (see
examples/images/ATTRIBUTION.md); without a folder OUT/mascots_open the program does not change them.
"""

import csv
import sys
from pathlib import Path
from typing import Any

from PIL import Image

SAVE_OPTIONS: dict[str, dict[str, Any]] = {".jpg": {"quality": 88}, ".webp": {"quality": 85}}


def main(rendered: Path, examples: Path) -> None:
    with open(Path(__file__).with_name("examples.csv"), newline="") as table:
        rows = list(csv.DictReader(table))
    for row in rows:
        source, target = rendered / row["source"], examples / "images" / row["path"]
        if source.parts[-3] == "mascots_open" and not source.exists():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        options = SAVE_OPTIONS.get(target.suffix, {"optimize": True})
        Image.open(source).convert("RGB").resize((256, 256)).save(target, **options)
    with open(examples / "labels.csv", "w", newline="") as table:
        writer = csv.writer(table, lineterminator="\n")
        writer.writerow(["path", "label"])
        writer.writerows((f"images/{row['path']}", row["emotion"]) for row in rows)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python examples.py RENDERED EXAMPLES")
    main(Path(sys.argv[1]), Path(sys.argv[2]))
