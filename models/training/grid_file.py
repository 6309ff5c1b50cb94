"""Grid files: the variants that `moodex compare` trains. Imports no torch."""

from __future__ import annotations

from collections.abc import Collection
from fnmatch import fnmatchcase
from pathlib import Path

from indexer.domain.errors import UsageError
from models.training.recipe import STUDY, Recipe, RecipeOverrides, change_recipe, find_recipe, read_toml


def read_variants(name: str, overrides: RecipeOverrides | None = None) -> dict[str, Recipe]:
    """Read the variants of a grid file, or of "study".

    `[every]` has fields for all variants; each `[[variant]]` has a name, a base recipe and its own fields. `overrides` win over
    both. Raises UsageError.
    """
    path = STUDY if name == "study" else Path(name)
    written = read_toml(path)
    if unknown := sorted(written.keys() - {"every", "variant"}):
        raise UsageError(f"The grid {path} has {unknown[0]!r}; it may have [every] and [[variant]].")
    every, rows = written.get("every", {}), written.get("variant", [])
    if not rows:
        raise UsageError(f"The grid {path} has no [[variant]].")
    variants: dict[str, Recipe] = {}
    for number, row in enumerate(rows, start=1):
        title, base = str(row.pop("name", f"variant {number}")), str(row.pop("base", every.get("base", "default")))
        if title in variants:
            raise UsageError(f"The grid {path} has two variants called {title!r}.")
        shared = {field: value for field, value in every.items() if field != "base"}
        recipe = change_recipe(find_recipe(base), {**shared, **row}, f"{path} in {title!r}")
        variants[title] = (overrides or RecipeOverrides()).apply(recipe, "The command line")
    return variants


def select_variants(variants: dict[str, Recipe], patterns: Collection[str]) -> dict[str, Recipe]:
    """Return the variants whose name matches a shell pattern; all without patterns. Raises UsageError if none matches."""
    chosen = {name: recipe for name, recipe in variants.items() if not patterns or any(fnmatchcase(name, p) for p in patterns)}
    if not chosen:
        listed = ", ".join(map(repr, patterns))
        raise UsageError(f"No variant matches {listed}; there are {', '.join(map(repr, variants))}.")
    return chosen
