"""Text encoders on ONNX Runtime, whose texts have vectors among the embeddings of images. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from indexer.domain.errors import ModelUnavailable
from indexer.domain.hub import TEXT_KINDS
from models.checkpoint_arrays import load_all
from models.hub.clip_engines import graph_of, weights_name
from models.hub.kinds import files_of
from models.hub.layout import TOKENIZER
from models.hub.tokens import Tokenizer
from models.inference.engines.onnx import open_session
from models.safetensors_io import read_verified

if TYPE_CHECKING:
    from indexer.domain.hub import HubSource
    from indexer.domain.types import Floats
    from models.hub.linked_graph import LinkedGraph

_BATCH_SIZE = 16


class OnnxTextEncoder:
    """Implements `indexer.ports.models.TextEncoder` with the exported graph of a model of a hub.

    `paths` are those of the files of the model, by name. Raises ModelUnavailable for changed files, and MissingExtra.
    """

    def __init__(self, source: HubSource, graph: LinkedGraph, paths: Mapping[str, Path]) -> None:
        tokenizer = read_verified(paths[TOKENIZER], source.files[TOKENIZER])
        self._tokenize = Tokenizer(tokenizer, source.options, source.repository)
        self._weights = graph.load_weights(paths[weights_name(source)])
        self._session, _ = open_session(graph.onnx, {})
        self._input = self._session.get_inputs()[0].name

    def encode(self, texts: Sequence[str]) -> Floats:
        tokens = self._tokenize(texts)
        outputs = [
            self._session.run(None, {self._input: tokens[start : start + _BATCH_SIZE], **self._weights})[0]
            for start in range(0, len(tokens), _BATCH_SIZE)
        ]
        vectors: Floats = np.concatenate(outputs).astype(np.float32, copy=False)
        return vectors


def open_text_encoder(path: Path) -> OnnxTextEncoder:
    """Open the text encoder of the model whose checkpoint is at `path`. Raises ModelUnavailable and MissingExtra."""
    card, state = load_all(path)
    if card.hub is None or card.hub.kind not in TEXT_KINDS:
        raise ModelUnavailable(f"The model {card.name!r} has no text encoder.")
    return OnnxTextEncoder(card.hub, graph_of(card.hub, state, "text"), files_of(card.hub))
