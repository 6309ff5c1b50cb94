"""The published layouts of taggers: which files of a repository a tagger needs, and how they are opened.

- WD taggers: `selected_tags.csv` with `model.onnx`, or with `config.json` and `model.safetensors` of timm.
- Projects of DeepDanbooru, converted: `tags.txt` with one .onnx file.
- Multi-label classifiers of timm: `config.json` with `label_names`, and `model.safetensors`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from indexer.domain.errors import ModelUnavailable

if TYPE_CHECKING:
    from models.hub.repository import Repository

WD_TAGS, PLAIN_TAGS, CONFIG, WEIGHTS = "selected_tags.csv", "tags.txt", "config.json", "model.safetensors"
ONNX_TAGGER, TIMM_TAGGER = "onnx-tagger", "timm-tagger"
"""Kinds of `indexer.domain.hub.HubSource`."""

_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
_LARGEST_BYTES = 1 << 33


@dataclass(frozen=True, slots=True)
class TaggerFiles:
    """The files of a tagger: its kind, the file with its weights, and all that it needs, weights included."""

    kind: str
    weights: str
    names: tuple[str, ...]


def find_tagger(repository: Repository, prefer_torch: bool) -> TaggerFiles:
    """Return the files of the tagger in a repository; with two formats, ONNX unless PyTorch is preferred.

    Raises ModelUnavailable for another layout, and for weights that are a pickle.
    """
    names = repository.files.keys()
    tags = next((name for name in (WD_TAGS, PLAIN_TAGS) if name in names), None)
    onnx = _onnx_file(repository)
    found: dict[str, TaggerFiles] = {}
    config = [CONFIG] if CONFIG in names else []
    if onnx and (tags or config):
        found[ONNX_TAGGER] = TaggerFiles(ONNX_TAGGER, onnx, (*config, *([tags] if tags else []), onnx))
    if config and WEIGHTS in names:
        found[TIMM_TAGGER] = TaggerFiles(TIMM_TAGGER, WEIGHTS, (CONFIG, *([tags] if tags else []), WEIGHTS))
    if not found:
        raise ModelUnavailable(_why_unusable(repository, tags))
    chosen = found.get(TIMM_TAGGER if prefer_torch else ONNX_TAGGER) or next(iter(found.values()))
    if repository.size_of(chosen.names) > _LARGEST_BYTES:
        raise ModelUnavailable(f"{repository.name} is larger than {_LARGEST_BYTES >> 30} GiB; moodex does not open such models.")
    return chosen


def _onnx_file(repository: Repository) -> str | None:
    """Return the name of the ONNX file: `model.onnx`, or the only one at the top."""
    at_top = [name for name in repository.files if name.endswith(".onnx") and "/" not in name]
    return "model.onnx" if "model.onnx" in at_top else at_top[0] if len(at_top) == 1 else None


def _why_unusable(repository: Repository, tags: str | None) -> str:
    names = repository.files.keys()
    if WEIGHTS not in names and (pickles := sorted(name for name in names if name.endswith(_PICKLES))):
        return (
            f"{repository.name} has its weights only as a pickle ({pickles[0]}), which can run any code; moodex loads "
            "safetensors and ONNX only."
        )
    keras = sorted(name for name in names if name.endswith((".h5", ".keras")))
    if keras:
        return f"{repository.name} has its weights only for Keras ({keras[0]}); convert it to ONNX, with {PLAIN_TAGS} beside it."
    if tags is None and CONFIG not in names:
        return f"{repository.name} is not a tagger: it has neither {WD_TAGS} nor {PLAIN_TAGS}, nor a {CONFIG} of timm."
    return f"{repository.name} is not complete: it has no {WEIGHTS} with {CONFIG}, and no ONNX file with {tags or WD_TAGS}."
