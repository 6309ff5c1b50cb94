"""What the configuration files of CLIP and SigLIP say about pixels and tokens, in the layouts of open_clip and transformers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from indexer.domain.errors import ModelUnavailable
from indexer.domain.hub import OPEN_CLIP
from models.hub.layout import CONFIG, OPEN_CLIP_CONFIG, PREPROCESSOR, TOKENIZER, TOKENIZER_CONFIG
from models.hub.normalization import Normalization
from models.hub.tag_names import read_config
from models.hub.tokens import CLEANED, parse_tokenizer

_CLIP_MEAN, _CLIP_STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
"""What open_clip assumes of a model that says nothing."""

_MODEL_TYPES = ("clip", "siglip")
_SIZES = {"clip": 224, "siglip": 224}
_CONTEXT_LENGTHS = {"clip": 77, "siglip": 64}
"""What transformers assumes of a model that says nothing."""


def read_clip_config(kind: str, paths: Mapping[str, Path]) -> dict[str, Any]:
    """Return the configuration of a network. Raises ModelUnavailable for another file, and for one that needs remote code."""
    config = read_config(paths[OPEN_CLIP_CONFIG if kind == OPEN_CLIP else CONFIG])
    parts = [config.get("model_cfg", {}).get(name) for name in ("vision_cfg", "text_cfg")]
    if kind == OPEN_CLIP and not all(isinstance(part, dict) for part in parts):
        raise ModelUnavailable(f"{OPEN_CLIP_CONFIG} describes no network: it lacks model_cfg with vision_cfg and text_cfg.")
    if kind != OPEN_CLIP and config.get("model_type") not in _MODEL_TYPES:
        raise ModelUnavailable(
            f"{CONFIG} describes a model of the type {config.get('model_type')!r}; moodex opens {' and '.join(_MODEL_TYPES)}."
        )
    return config


def clip_options(kind: str, config: Mapping[str, Any], paths: Mapping[str, Path], name: str) -> dict[str, Any]:
    """Return what is needed to prepare images and texts, as JSON values.

    - `size`: side of the input in pixels; with the options of `Normalization`.
    - `context_length`, `pad_id`, `clean`: as in `models.hub.tokens.Tokenizer`.

    Raises ModelUnavailable for values that moodex does not know, and MissingExtra.
    """
    options = _open_clip_options(config, paths, name) if kind == OPEN_CLIP else _transformers_options(config, paths, name)
    numbers = ("size", "context_length", "pad_id")
    if wrong := [field for field in numbers if type(options[field]) is not int or options[field] < 0]:
        raise ModelUnavailable(f"The configuration of {name} gives {options[wrong[0]]!r} as its {wrong[0]}, not a number.")
    return options


def _open_clip_options(config: Mapping[str, Any], paths: Mapping[str, Path], name: str) -> dict[str, Any]:
    text, images = config["model_cfg"]["text_cfg"], config.get("preprocess_cfg", {})
    fields = text.get("tokenizer_kwargs") or {}
    has_own_tokenizer = bool(text.get("hf_tokenizer_name"))
    clean = fields.get("clean", "whitespace" if has_own_tokenizer else "lower")
    if clean not in CLEANED or text.get("tokenizer_mode") or set(fields) - {"clean"}:
        raise ModelUnavailable(f"{name} prepares texts in a way that moodex does not know; choose another model.")
    normalization = {"mean": images.get("mean", _CLIP_MEAN), "std": images.get("std", _CLIP_STD)}
    return {
        "size": config["model_cfg"]["vision_cfg"].get("image_size", 224),
        **Normalization.from_timm(normalization, "rgb").as_options(),
        "context_length": text.get("context_length", 77),
        "pad_id": _pad_id(paths, name) if has_own_tokenizer else text.get("pad_id", 0),
        "clean": clean,
    }


def _transformers_options(config: Mapping[str, Any], paths: Mapping[str, Path], name: str) -> dict[str, Any]:
    kind, images = config["model_type"], read_config(paths[PREPROCESSOR])
    text, vision = config.get("text_config") or {}, config.get("vision_config") or {}
    mean, std = images.get("image_mean", _CLIP_MEAN), images.get("image_std", _CLIP_STD)
    if not images.get("do_normalize", True):
        mean, std = [0.0] * 3, [1.0] * 3
    tokenizer = read_config(paths[TOKENIZER_CONFIG]) if TOKENIZER_CONFIG in paths else {}
    is_siglip = str(tokenizer.get("tokenizer_class", "")) in ("SiglipTokenizer", "SiglipTokenizerFast")
    return {
        "size": vision.get("image_size", _SIZES[kind]),
        **Normalization.from_timm({"mean": mean, "std": std}, "rgb").as_options(),
        "context_length": text.get("max_position_embeddings", _CONTEXT_LENGTHS[kind]),
        "pad_id": _pad_id(paths, name),
        "clean": "siglip" if is_siglip else "lower",
    }


def _pad_id(paths: Mapping[str, Path], name: str) -> int:
    """Return the token that fills the rest of a text: that of `tokenizer_config.json`, or else of `tokenizer.json`."""
    tokenizer = parse_tokenizer(paths[TOKENIZER].read_bytes(), name)
    config = read_config(paths[TOKENIZER_CONFIG]) if TOKENIZER_CONFIG in paths else {}
    token = config.get("pad_token")
    token = token.get("content") if isinstance(token, dict) else token
    number = tokenizer.token_to_id(token) if isinstance(token, str) else (tokenizer.padding or {}).get("pad_id")
    if number is None:
        raise ModelUnavailable(f"The tokenizer of {name} names no token that fills the rest of a text.")
    return int(number)
