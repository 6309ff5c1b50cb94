"""Grid files, which list the variants that `moodex compare` trains. Imports no torch."""

from __future__ import annotations

from collections.abc import Collection
from fnmatch import fnmatchcase
from pathlib import Path

from indexer.domain.errors import UsageError
from models.training.recipe import STUDY, Recipe, RecipeOverrides, change_recipe, find_recipe, read_toml


def read_variants(name: str, overrides: RecipeOverrides | None = None) -> dict[str, Recipe]:
    """Read the variants of a grid file by name; the file "study" is shipped.

    `[every]` has fields of the recipes of all variants. Each `[[variant]]` has a name, the name of a base recipe, and fields,
    which override `[every]`; `overrides` override both. Raises UsageError for a missing or invalid file and an invalid recipe.
    """
    path = STUDY if name == "study" else Path(name)
    content = read_toml(path)
    if unknown := sorted(content.keys() - {"every", "variant"}):
        raise UsageError(f"The grid {path} has {unknown[0]!r}; it may have [every] and [[variant]].")
    every, rows = content.get("every", {}), content.get("variant", [])
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
    """Return the variants whose name matches one of the shell patterns, or all variants without patterns.

    Raises UsageError if none matches.
    """
    selected = {name: recipe for name, recipe in variants.items() if not patterns or any(fnmatchcase(name, p) for p in patterns)}
    if not selected:
        listed = ", ".join(map(repr, patterns))
        raise UsageError(f"No variant matches {listed}; there are {', '.join(map(repr, variants))}.")
    return selected
