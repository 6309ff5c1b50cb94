"""The names of the tags of a tagger, in the order of its outputs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from indexer.domain.errors import ModelUnavailable
from indexer.domain.tags import canonical_tag
from indexer.system.safe_read import read_bounded
from models.hub.layout import CONFIG, PLAIN_TAGS, WD_TAGS

MAX_TAGS = 200_000
_MAX_BYTES = 1 << 26
_MAX_NAME_LENGTH = 200


def read_tag_names(paths: Mapping[str, Path]) -> tuple[str, ...]:
    """Return the canonical names of the tags of a tagger, from one of its files by name.

    Raises ModelUnavailable if no file has them, or if the file does not have the published form.
    """
    if WD_TAGS in paths:
        names = _from_csv(_text(paths[WD_TAGS]))
    elif PLAIN_TAGS in paths:
        names = [line.strip() for line in _text(paths[PLAIN_TAGS]).splitlines() if line.strip()]
    else:
        names = _from_config(read_config(paths[CONFIG]))
    tags = tuple(map(canonical_tag, names))
    if not 1 <= len(tags) <= MAX_TAGS or not all(tag and len(tag) <= _MAX_NAME_LENGTH and tag.isprintable() for tag in tags):
        raise ModelUnavailable(f"The tags of the model are not 1 to {MAX_TAGS:,} names of at most {_MAX_NAME_LENGTH} characters.")
    return tags


def read_config(path: Path) -> dict[str, Any]:
    """Return the content of `config.json`. Raises ModelUnavailable if it is not an object, or asks for code of the repository."""
    try:
        config = json.loads(_text(path))
    except (ValueError, RecursionError) as error:
        raise ModelUnavailable(f"The file {path} is not JSON: {error}.") from error
    if not isinstance(config, dict):
        raise ModelUnavailable(f"The file {path} is not an object of JSON.")
    if "auto_map" in config or config.get("trust_remote_code"):
        raise ModelUnavailable("The model needs code from its repository, which moodex never runs; choose another model.")
    return config


def _from_csv(text: str) -> list[str]:
    rows = csv.DictReader(io.StringIO(text, newline=""))
    if not rows.fieldnames or not {"name", "category"} <= set(rows.fieldnames):
        raise ModelUnavailable(f"{WD_TAGS} is not a table of tags: it lacks the columns name and category.")
    try:
        return [row["name"] or "" for row in rows]
    except csv.Error as error:
        raise ModelUnavailable(f"{WD_TAGS} is not a table of tags: {error}.") from error


def _from_config(config: Mapping[str, Any]) -> list[str]:
    """Return the label names of a `config.json` of timm."""
    fields = {**config.get("pretrained_cfg", {}), **config}
    names = fields.get("label_names")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ModelUnavailable(f"The model names no tags: it has no {WD_TAGS}, no {PLAIN_TAGS}, and no label_names in {CONFIG}.")
    return names


def _text(path: Path) -> str:
    try:
        return read_bounded(path, _MAX_BYTES).decode("utf-8-sig")
    except (OSError, ValueError) as error:
        raise ModelUnavailable(f"The file {path} cannot be read as text: {error}.") from error
