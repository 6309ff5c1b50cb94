"""The prompts by which a model that compares images with texts recognizes emotions. `prompts.toml` states the rules."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from indexer.domain.emotions import OUTCOMES
from indexer.domain.errors import UsageError
from models.hub.emotion_table import emotion_in, read_table

SHIPPED_PROMPTS = Path(__file__).with_name("prompts.toml")
_MOST_TEXTS, _MOST_CHARACTERS = 1000, 500
_PLACE = "{}"


def read_prompts(path: Path | None = None) -> dict[str, tuple[str, ...]]:
    """Return the texts of each emotion, in the order of moodex, from a file or as shipped.

    Raises UsageError for a file that is not such a table.
    """
    path = path or SHIPPED_PROMPTS
    content = read_table(path)
    templates = _texts(content.pop("templates", [_PLACE]), path, "templates")
    if any(template.count(_PLACE) != 1 for template in templates):
        raise UsageError(f"In the prompts {path}, each of the templates must have {_PLACE} once.")
    emotions = content.pop("emotions", None)
    if not isinstance(emotions, Mapping) or content:
        raise UsageError(f"{path} has no prompts: it must have a section [emotions] with texts, and perhaps templates.")
    texts = {emotion_in(name, path): _texts(value, path, name) for name, value in emotions.items()}
    if len(texts) < 2:
        raise UsageError(f"The prompts {path} name {len(texts)} emotions; at least two are needed.")
    filled = {
        emotion: tuple(template.replace(_PLACE, text) for text in texts[emotion] for template in templates)
        for emotion in OUTCOMES
        if emotion in texts
    }
    if sum(map(len, filled.values())) > _MOST_TEXTS:
        raise UsageError(f"The prompts {path} are more than {_MOST_TEXTS:,} texts.")
    return filled


def _texts(value: Any, path: Path, name: str) -> list[str]:
    is_list = isinstance(value, list) and bool(value)
    if not is_list or not all(isinstance(text, str) and 0 < len(text) <= _MOST_CHARACTERS for text in value):
        raise UsageError(f"In the prompts {path}, {name} must be a list of texts of at most {_MOST_CHARACTERS} characters.")
    return list(value)
