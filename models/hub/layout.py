"""The published layouts of models: which files of a repository a model needs, and how they are opened.

Taggers:

- WD taggers: `selected_tags.csv` with `model.onnx`, or with `config.json` and `model.safetensors` of timm.
- Projects of DeepDanbooru, converted: `tags.txt` with one .onnx file.
- Multi-label classifiers of timm: `config.json` with `label_names`, and `model.safetensors`.

CLIP and SigLIP, with `tokenizer.json`:

- open_clip: `open_clip_config.json` and `open_clip_model.safetensors`.
- transformers: `config.json`, `preprocessor_config.json` and `model.safetensors`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from indexer.domain.errors import ModelUnavailable
from indexer.domain.hub import OPEN_CLIP, TRANSFORMERS_CLIP

if TYPE_CHECKING:
    from models.hub.repository import Repository

WD_TAGS, PLAIN_TAGS, CONFIG, WEIGHTS = "selected_tags.csv", "tags.txt", "config.json", "model.safetensors"
OPEN_CLIP_CONFIG, OPEN_CLIP_WEIGHTS = "open_clip_config.json", "open_clip_model.safetensors"
PREPROCESSOR, TOKENIZER, TOKENIZER_CONFIG = "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json"

ONNX_TAGGER, TIMM_TAGGER = "onnx-tagger", "timm-tagger"
"""Kinds of `indexer.domain.hub.HubSource`, besides those of CLIP."""

_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
_LARGEST_BYTES = 1 << 33


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """The files of a model: its kind, the file with its weights, and all that it needs, weights included."""

    kind: str
    weights: str
    names: tuple[str, ...]


def find_model(repository: Repository, prefer_torch: bool, only_open_clip: bool = False) -> ModelFiles:
    """Return the files of the model in a repository.

    A tagger with two formats is taken as ONNX unless PyTorch is preferred; CLIP with two layouts in that of open_clip. With
    `only_open_clip`, no other layout is accepted. Raises ModelUnavailable for another layout, and for weights that are a pickle.
    """
    names = repository.files.keys()
    tags = next((name for name in (WD_TAGS, PLAIN_TAGS) if name in names), None)
    if OPEN_CLIP_CONFIG in names or only_open_clip:
        chosen = _clip_files(repository, OPEN_CLIP, (OPEN_CLIP_CONFIG,), OPEN_CLIP_WEIGHTS)
    elif PREPROCESSOR in names and tags is None:
        chosen = _clip_files(repository, TRANSFORMERS_CLIP, (CONFIG, PREPROCESSOR), WEIGHTS)
    else:
        chosen = _tagger_files(repository, tags, prefer_torch)
    if repository.size_of(chosen.names) > _LARGEST_BYTES:
        raise ModelUnavailable(f"{repository.name} is larger than {_LARGEST_BYTES >> 30} GiB; moodex does not open such models.")
    return chosen


def _clip_files(repository: Repository, kind: str, configs: tuple[str, ...], weights: str) -> ModelFiles:
    names = repository.files.keys()
    if missing := [name for name in (*configs, weights, TOKENIZER) if name not in names]:
        raise ModelUnavailable(
            _why_pickle(repository, weights)
            or f"{repository.name} is not complete: of the layout of {kind.removesuffix('-clip')}, it lacks {missing[0]}."
        )
    optional = [TOKENIZER_CONFIG] if TOKENIZER_CONFIG in names else []
    return ModelFiles(kind, weights, (*configs, TOKENIZER, *optional, weights))


def _tagger_files(repository: Repository, tags: str | None, prefer_torch: bool) -> ModelFiles:
    names = repository.files.keys()
    onnx = _onnx_file(repository)
    found: dict[str, ModelFiles] = {}
    config = [CONFIG] if CONFIG in names else []
    if onnx and (tags or config):
        found[ONNX_TAGGER] = ModelFiles(ONNX_TAGGER, onnx, (*config, *([tags] if tags else []), onnx))
    if config and WEIGHTS in names:
        found[TIMM_TAGGER] = ModelFiles(TIMM_TAGGER, WEIGHTS, (CONFIG, *([tags] if tags else []), WEIGHTS))
    if not found:
        raise ModelUnavailable(_why_unusable(repository, tags))
    return found.get(TIMM_TAGGER if prefer_torch else ONNX_TAGGER) or next(iter(found.values()))


def _onnx_file(repository: Repository) -> str | None:
    """Return the name of the ONNX file: `model.onnx`, or the only one at the top."""
    at_top = [name for name in repository.files if name.endswith(".onnx") and "/" not in name]
    return "model.onnx" if "model.onnx" in at_top else at_top[0] if len(at_top) == 1 else None


def _why_pickle(repository: Repository, weights: str) -> str | None:
    """Return a sentence for a repository that has its weights only as a pickle; None for another one."""
    names = repository.files.keys()
    pickles = sorted(name for name in names if name.endswith(_PICKLES))
    if weights in names or not pickles:
        return None
    return (
        f"{repository.name} has its weights only as a pickle ({pickles[0]}), which can run any code; moodex loads "
        "safetensors and ONNX only."
    )


def _why_unusable(repository: Repository, tags: str | None) -> str:
    names = repository.files.keys()
    if pickle := _why_pickle(repository, WEIGHTS):
        return pickle
    keras = sorted(name for name in names if name.endswith((".h5", ".keras")))
    if keras:
        return f"{repository.name} has its weights only for Keras ({keras[0]}); convert it to ONNX, with {PLAIN_TAGS} beside it."
    if tags is None and CONFIG not in names:
        return (
            f"{repository.name} is not a tagger: it has neither {WD_TAGS} nor {PLAIN_TAGS}, nor a {CONFIG} of timm; "
            f"nor is it CLIP: it has neither {OPEN_CLIP_CONFIG} nor {PREPROCESSOR}."
        )
    return f"{repository.name} is not complete: it has no {WEIGHTS} with {CONFIG}, and no ONNX file with {tags or WD_TAGS}."
