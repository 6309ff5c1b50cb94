"""Model versions: the same network with a last layer that was refitted to the labels of a user."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from indexer.domain.errors import ModelUnavailable, UsageError
from models import checkpoint
from models.model_card import read_card
from models.style_baseline import StyleBaseline, fit_baseline, load_baseline
from models.teaching.fit import FitResult, teach
from models.teaching.linear_head import Examples, Head, RefitSettings, refit
from models.teaching.replay import (
    SIZE,
    classifier_input,
    extract_head,
    reads_stored,
    replace_head,
    replay_examples,
    taught_architecture,
)

if TYPE_CHECKING:
    from indexer.domain.models import ModelCard
    from indexer.domain.reports import TeachingSet
    from indexer.domain.types import Floats, Halves
    from models.model_registry import FolderModelRegistry

_INITIAL_REFIT = RefitSettings(new_weight=1.0, anchor=1e-4)


@dataclass(frozen=True, slots=True)
class EmbeddingScorer:
    """Computes the predictions of a model from stored embeddings: its last layer, and its style baseline if it has one."""

    card: ModelCard
    head: Head
    usual: StyleBaseline | None

    def score(self, embeddings: Halves) -> Floats:
        """Return probabilities, float32, (N, labels), of stored embeddings, float16, (N, embedding size)."""
        return self.head.probabilities(classifier_input(self.card, embeddings, self.usual))


@dataclass(frozen=True, slots=True)
class Version:
    """The outcome of teaching.

    - `new`: scores with the new version; None if the model in use stays.
    - `already`: the model in use is that version already.
    """

    taught: FitResult
    new: EmbeddingScorer | None
    already: bool = False


@dataclass(frozen=True, slots=True)
class BaseModel:
    """The model that is taught: the first of a line of versions, of which `in_use` is the latest. `state` has its replay set."""

    name: str
    card: ModelCard
    state: Mapping[str, Tensor]
    in_use: str
    in_use_card: ModelCard

    @property
    def is_in_use(self) -> bool:
        """Whether no version was taught from it yet."""
        return self.name == self.in_use


@dataclass(frozen=True, slots=True)
class Candidate:
    """A refitted last layer, and the style baseline that it subtracts, if any."""

    fit: FitResult
    head: Head
    baseline: StyleBaseline | None


def learn(
    registry: FolderModelRegistry,
    in_use: str,
    lesson: TeachingSet,
    name: str | None,
    taken: Collection[str],
    check_stop: Callable[[], None],
) -> Version:
    """Teach the model in use, and save the new version among the user's models.

    The base of the model in use is taught on all labels, so that a removed label leaves no trace, and the new version is
    compared with that base: the version in use has seen some of the labels.

    - `name`: name of the version; None numbers it, and avoids the `taken` names.
    - `check_stop`: called between steps; may raise.

    Raises ModelUnavailable if the base is missing or has changed, and UsageError for an invalid name or for labels that are not
    enough to learn from.
    """
    base = _find_base(registry, in_use)
    target = registry.place(name or _free_name({*taken, *(model.name for model in registry)}, base.name))
    baseline = fit_baseline(base.card, lesson.sample_vectors) if base.card.spaces else None
    fit = _fit(base, lesson, baseline, check_stop)
    if fit.head is None:
        return Version(fit, None)
    path = _save(base, Candidate(fit, fit.head, baseline if fit.reading else None), lesson.labels, target)
    if read_card(path).key == base.in_use_card.key:
        registry.remove(target.stem)
        return Version(fit, None, already=True)
    return Version(fit, _scorer(*checkpoint.load(path)))


def earlier(registry: FolderModelRegistry, in_use: str) -> tuple[str, EmbeddingScorer | None]:
    """Return the name of the model before a version was taught, and its scorer if it reads stored embeddings.

    Raises UsageError for a model that was not taught, ModelUnavailable if the earlier model is missing.
    """
    taught = read_card(registry.find(in_use)).about.get("taught")
    if taught is None:
        raise UsageError(f"The model in use, {in_use!r}, was not taught; there is nothing to undo.")
    name = str(taught["before"])
    try:
        card, state = checkpoint.load(registry.find(name))
    except ModelUnavailable as error:
        raise ModelUnavailable(
            f"Cannot return to the model {name!r}. {error} Choose another: moodex models default NAME"
        ) from error
    return name, _scorer(card, state) if reads_stored(card) else None


def _find_base(registry: FolderModelRegistry, in_use: str) -> BaseModel:
    in_use_card = read_card(registry.find(in_use))
    name = str(in_use_card.about.get("taught", {}).get("from", in_use))
    card, state = checkpoint.load_all(registry.find(name))
    if not card.backbone_digest:
        raise ModelUnavailable(f"The card of {name!r} is from an older moodex; train the model again, or teach another.")
    if card.embedder_key != in_use_card.embedder_key:
        raise ModelUnavailable(f"The model {name!r}, from which {in_use!r} was taught, has changed since.")
    return BaseModel(name, card, state, in_use, in_use_card)


def _fit(base: BaseModel, lesson: TeachingSet, baseline: StyleBaseline | None, check_stop: Callable[[], None]) -> FitResult:
    """Refit the last layer, on the plain embeddings and, if there is a baseline, on those without it."""
    replay = replay_examples(base.card, base.state) or _library_sample(base, lesson)
    head = extract_head(base.card, base.state) if reads_stored(base.card) else _approximate_head(base.card, replay)
    plain = classifier_input(base.card, lesson.vectors)
    readings = [plain] if baseline is None else [plain, classifier_input(base.card, lesson.vectors, baseline)]
    predicted = lesson.predicted_before if base.is_in_use else [head.labels[best] for best in head.logits(plain).argmax(axis=1)]
    return teach(head, readings, lesson.labels, replay, predicted, check_stop)


def _save(base: BaseModel, candidate: Candidate, labels: Sequence[str], target: Path) -> Path:
    card = replace(
        base.card,
        name=target.stem,
        architecture=taught_architecture(base.card, candidate.baseline),
        labels=candidate.head.labels,
        about={**base.card.about, "taught": _provenance(base, candidate, labels)},
    )
    return checkpoint.save(target.parent, card, replace_head(base.state, candidate.head, candidate.baseline))


def _provenance(base: BaseModel, candidate: Candidate, labels: Sequence[str]) -> dict[str, Any]:
    fit = candidate.fit
    return {
        "from": base.name,
        "before": base.in_use,
        "labels": dict(sorted(Counter(labels).items())),
        "balanced_accuracy_before": round(fit.before, 4),
        "balanced_accuracy_after": round(fit.after, 4),
        "tested": fit.tested,
        "beside_what_is_usual": candidate.baseline is not None,
        "share": fit.settings.new_weight,
        "anchor": fit.settings.anchor,
    }


def _scorer(card: ModelCard, state: Mapping[str, Tensor]) -> EmbeddingScorer:
    baseline = load_baseline({name: values.numpy() for name, values in state.items()})
    return EmbeddingScorer(card, extract_head(card, state), baseline)


def _library_sample(base: BaseModel, lesson: TeachingSet) -> Examples:
    """Replace a missing replay set by what the model predicts for a sample of the library."""
    if base.in_use_card.labels != base.card.labels:
        raise ModelUnavailable(
            f"The model {base.card.name!r} has no replay set of its training; make it the default, and teach that."
        )
    sample = slice(None, None, max(1, len(lesson.sample_vectors) // SIZE))
    vectors = classifier_input(base.card, lesson.sample_vectors[sample])
    return Examples(torch.from_numpy(vectors), torch.from_numpy(lesson.sample_probabilities[sample].copy()))


def _approximate_head(card: ModelCard, replay: Examples) -> Head:
    """Fit a last layer on unit vectors, for a model that reads features, to its predictions for the replay set."""
    labels, size = len(card.labels), replay.vectors.shape[1]
    empty = Head(card.labels, torch.zeros(labels, size), torch.zeros(labels))
    return refit(empty, replay, replay.take([]), _INITIAL_REFIT)


def _free_name(taken: Collection[str], base: str) -> str:
    return next(name for name in (f"{base}-taught-{number}" for number in count(1)) if name not in taken)
