"""Gather openly licensed sprites from clones of public repositories.

    python -m recipes.sprites.gather CLONES OUT [--only SET...] [--busts] [--compare FOLDER]

CLONES has a git clone of each repository of `sources.csv`, named OWNER+NAME. The program writes OUT/SET/EMOTION/*.webp, with
`manifest.csv`, `LICENSE.txt` and `regions.csv` for each set, and OUT/sets.csv. It replaces the folders of these sets. The result
depends only on the tables of this folder.
"""

from __future__ import annotations

import argparse
import csv
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from recipes.sprites.compare import compare_set
from recipes.sprites.finish import finish_image, store_image
from recipes.sprites.layers import draw, image_reader
from recipes.sprites.regions import write_regions
from recipes.sprites.repositories import MissingSource, open_source
from recipes.sprites.tables import HERE, Picture, Source, read_pictures, read_sources

BUST = "_bust"
"""Ending of the names of sets that show heads and shoulders of the drawings of the set without it."""

LICENCE_TEXT = """Source: {place} at {commit}
{url}
Licence: {licence}
Credit: {credit}
{note}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clones", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", nargs="+", default=[], metavar="SET", help="gather these sets alone")
    parser.add_argument("--compare", type=Path, metavar="FOLDER", help="count the images that are equal to those of a folder")
    parser.add_argument(
        "--busts", action="store_true", help="leave out sets of which there are heads and shoulders in another set"
    )
    options = parser.parse_args()
    try:
        gather(options.clones, options.out, options.only, options.compare, busts=options.busts)
    except (MissingSource, ValueError) as error:
        sys.exit(f"gather: {error}")


def gather(
    clones: Path, out: Path, only: Sequence[str] = (), compare: Path | None = None, tables: Path = HERE, *, busts: bool = False
) -> None:
    """Write the sets that are used, all or only some, and print a line for each.

    With `busts`, a set is left out if another set has heads and shoulders of its drawings, larger: classifiers learn from those.

    Raises MissingSource and ValueError; the sets before the one that failed are complete.
    """
    sources = read_sources(tables)
    if unknown := set(only) - {source.name for source in sources}:
        raise ValueError(f"There is no set {', '.join(sorted(unknown))}.")
    with_busts = {source.name.removesuffix(BUST) for source in sources if source.name.endswith(BUST)} if busts else set()
    for source in sources:
        if (only and source.name not in only) or source.name in with_busts:
            continue
        if not source.used:
            print(f"{source.name}: left out. {source.note}")
            continue
        pictures = read_pictures(source.name, tables)
        regions = gather_set(source, pictures, clones, out / source.name)
        line = f"{source.name}: {len(pictures)} images, {regions} regions"
        if compare is not None:
            line += f"; {compare_set(out / source.name, compare / source.name)}"
        print(line, flush=True)
    write_overview(out, sources)


def gather_set(source: Source, pictures: Sequence[Picture], clones: Path, folder: Path) -> int:
    """Write the images and tables of a set, and return the number of its regions."""
    read_image = image_reader(open_source(clones, source.repository, source.commit), source.folder)
    shutil.rmtree(folder, ignore_errors=True)
    for picture in pictures:
        try:
            drawing = draw(picture.layers, read_image)
            image = finish_image(drawing, source.finish, picture.box)
        except ValueError as error:
            raise ValueError(f"{picture.file} of the set {source.name}: {error}") from error
        store_image(image, folder / picture.file, source.finish)
    with (folder / "manifest.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("file", "label", "confidence", "original_name", "character"))
        writer.writerows((p.file, p.label, p.confidence, p.original_name, p.character) for p in pictures)
    (folder / "LICENSE.txt").write_text(describe_licence(source), encoding="utf-8")
    return write_regions(folder, ((picture.file, picture.character) for picture in pictures))


def describe_licence(source: Source) -> str:
    """Return the text of `LICENSE.txt`: where a set is from, its licence and whom to credit."""
    place = f"{source.repository}, {source.folder}" if source.folder else source.repository
    return LICENCE_TEXT.format(
        place=place, commit=source.commit, url=source.url, licence=source.licence, credit=source.credit, note=source.note
    )


def write_overview(out: Path, sources: Sequence[Source]) -> None:
    """Write `sets.csv` with the sets that are in the folder, also those of earlier runs."""
    with (out / "sets.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("set", "artist", "licence", "credit", "url"))
        for source in sources:
            if source.used and (out / source.name / "manifest.csv").exists():
                writer.writerow((source.name, source.artist, source.licence, source.credit, source.url))


if __name__ == "__main__":
    main()
