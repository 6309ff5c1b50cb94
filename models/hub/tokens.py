"""Tokens of texts, by the `tokenizer.json` of a model and the library tokenizers, which needs no PyTorch."""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from indexer.domain.errors import ModelUnavailable
from indexer.system.optional import require

if TYPE_CHECKING:
    from indexer.domain.types import Ids

EXTRA = "clip"
"""The extra of moodex that installs tokenizers."""

_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)

CLEANED: dict[str, Callable[[str], str]] = {
    "whitespace": lambda text: " ".join(text.split()),
    "lower": lambda text: " ".join(text.split()).lower(),
    "canonicalize": lambda text: " ".join(text.replace("_", " ").translate(_NO_PUNCTUATION).lower().split()),
    "siglip": lambda text: " ".join(text.lower().translate(_NO_PUNCTUATION).split()),
}
"""What is done to a text before it is split into tokens: by the names that open_clip uses, and by SigLIP of transformers."""


class Tokenizer:
    """Turns texts into tokens, padded to the context length of a model.

    `content` is that of `tokenizer.json`; `options` are those of a `HubSource`: `context_length`, `pad_id` and `clean`, a key of
    `CLEANED`. Raises ModelUnavailable for other content, and MissingExtra.
    """

    def __init__(self, content: bytes, options: Mapping[str, Any], name: str) -> None:
        self._tokenizer = parse_tokenizer(content, name)
        try:
            self._clean = CLEANED[options["clean"]]
            self._tokenizer.enable_truncation(options["context_length"])
            self._tokenizer.enable_padding(length=options["context_length"], pad_id=options["pad_id"])
        except (KeyError, TypeError, OverflowError) as error:
            raise ModelUnavailable(f"The card of {name} does not say how to prepare texts; add the model again.") from error

    def __call__(self, texts: Sequence[str]) -> Ids:
        """Return tokens, int64, (N, context length); what does not fit is cut off."""
        # One at a time: a batch starts threads, which make a later fork of the process unsafe.
        return np.array([self._tokenizer.encode(self._clean(text)).ids for text in texts], dtype=np.int64)


def parse_tokenizer(content: bytes, name: str) -> Any:
    """Return the tokenizer of a `tokenizer.json`. Raises ModelUnavailable for another file, and MissingExtra."""
    require("tokenizers", "tokenizers", EXTRA, f"The text encoder of {name}")
    from tokenizers import Tokenizer as Parsed

    try:
        return Parsed.from_str(content.decode("utf-8"))
    except Exception as error:  # tokenizers raises nothing more specific
        reason = " ".join(str(error).split())[:200]
        raise ModelUnavailable(f"The tokenizer.json of {name} is not a tokenizer: {reason}.") from error
