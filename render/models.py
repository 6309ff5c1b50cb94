"""The models that can be used, for people and programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, TextIO

from render.text import counted, printable

if TYPE_CHECKING:
    from indexer.messages import ListedModel


def write_models(models: Sequence[ListedModel], as_json: bool, out: TextIO) -> None:
    """Write a line, or an object, for each model."""
    if as_json:
        described = [
            {
                "name": model.card.name,
                "default": model.default,
                "origin": model.origin,
                "architecture": model.card.architecture,
                "labels": list(model.card.labels),
                "input_size": model.card.input.size,
                "embedding_size": model.card.embedding_size,
                "weights_digest": model.card.weights_digest,
                "key": model.card.key,
                "images": model.pictures,
            }
            for model in models
        ]
        json.dump(described, out, indent=2)
        out.write("\n")
        return
    for model in models:
        card = model.card
        mark = "*" if model.default else " "
        facts = f"{card.architecture}, {card.input.size} px, {len(card.labels)} emotions, {card.embedding_size}-d"
        out.write(f"{mark} {printable(card.name)}  {facts}, {model.origin}, {counted(model.pictures, 'picture')} indexed\n")
    out.write("* is used unless --model says otherwise.\n")
