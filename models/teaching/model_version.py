"""Versions of a model: the same network with a last layer that was refitted to the labels of a user."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from indexer.domain.errors import ModelUnavailable, UsageError
from models import checkpoint_arrays
from models.inference.embedding_scorer import EmbeddingScorer, classifier_input
from models.model_card import read_card
from models.style_baseline import StyleBaseline, fit_baseline
from models.teaching.fit import FitResult, teach
from models.teaching.linear_head import Examples, Head, RefitSettings, refit
from models.teaching.replay import (
    REPLAY_SET_SIZE,
    extract_head,
    reads_stored,
    replace_head,
    replay_examples,
    taught_architecture,
)

if TYPE_CHECKING:
    from indexer.domain.models import ModelCard
    from indexer.domain.reports import TeachingSet
    from models.checkpoint_arrays import Arrays
    from models.model_registry import FolderModelRegistry

_APPROXIMATION_SETTINGS = RefitSettings(new_weight=1.0, anchor=1e-4)
"""Settings with which a last layer on embeddings is fitted to the predictions of one on features."""


@dataclass(frozen=True, slots=True)
class Version:
    """The result of teaching.

    - `scorer`: predicts with the new version; None if that is not better or not new.
    - `unchanged`: whether the model in use is the same version.
    """

    fit: FitResult
    scorer: EmbeddingScorer | None
    unchanged: bool = False


@dataclass(frozen=True, slots=True)
class BaseModel:
    """The model from which all versions are taught, and its latest version.

    - `name`, `card`: of the base model; `state`: its tensors by name, with its replay set.
    - `in_use`, `in_use_card`: name and card of the model in use: the latest version, or the base model.
    """

    name: str
    card: ModelCard
    state: Arrays
    in_use: str
    in_use_card: ModelCard

    @property
    def is_in_use(self) -> bool:
        """Whether the base model is in use, so that no version was taught from it yet."""
        return self.name == self.in_use


@dataclass(frozen=True, slots=True)
class Candidate:
    """A refitted last layer, and the style baseline that is subtracted from its input, if any."""

    fit: FitResult
    head: Head
    baseline: StyleBaseline | None


def learn(
    registry: FolderModelRegistry,
    in_use: str,
    examples: TeachingSet,
    name: str | None,
    taken: Collection[str],
    check_stop: Callable[[], None],
) -> Version:
    """Teach the model in use, and add the new version to the user's models.

    Every version is fitted to all labels, from the base model: a label that the user removed has no effect. The new version is
    compared with the base model, because the version in use was fitted to some of the labels.

    - `in_use`: name of the model in use, which is not changed.
    - `name`: name of the new version; None takes the first unused of BASE-taught-1, BASE-taught-2, ...
    - `taken`: names that are not used for the new version, in addition to those of installed models.
    - `check_stop`: called between fits; may raise.

    Raises ModelUnavailable if the base model is missing or has changed, UsageError for an invalid name and if the labels do not
    suffice.
    """
    base = _find_base(registry, in_use)
    target = registry.path_for_new(name or _unused_name({*taken, *(model.name for model in registry)}, base.name))
    baseline = fit_baseline(base.card, examples.sample_vectors) if base.card.spaces else None
    fit = _fit(base, examples, baseline, check_stop)
    if fit.head is None:
        return Version(fit, None)
    path = _save(base, Candidate(fit, fit.head, baseline if fit.input_form else None), examples.labels, target)
    if read_card(path).key == base.in_use_card.key:
        registry.remove(target.stem)
        return Version(fit, None, unchanged=True)
    return Version(fit, _scorer(*checkpoint_arrays.load_all(path)))


def earlier(registry: FolderModelRegistry, in_use: str) -> tuple[str, EmbeddingScorer | None]:
    """Return the model that was in use when a version was taught.

    The result is its name, and its scorer if its classifier reads stored embeddings. Raises UsageError for a model that was not
    taught, ModelUnavailable if the earlier model is missing.
    """
    taught = read_card(registry.find(in_use)).about.get("taught")
    if taught is None:
        raise UsageError(f"The model in use, {in_use!r}, was not taught; there is nothing to undo.")
    name = str(taught["before"])
    try:
        card, state = checkpoint_arrays.load_all(registry.find(name))
    except ModelUnavailable as error:
        raise ModelUnavailable(
            f"Cannot return to the model {name!r}. {error} Choose another: moodex models default NAME"
        ) from error
    return name, _scorer(card, state) if reads_stored(card) else None


def _find_base(registry: FolderModelRegistry, in_use: str) -> BaseModel:
    """Load the base model of the model in use. Raises ModelUnavailable if it is missing, changed, or too old."""
    in_use_card = read_card(registry.find(in_use))
    name = str(in_use_card.about.get("taught", {}).get("from", in_use))
    card, state = checkpoint_arrays.load_all(registry.find(name))
    if card.members:
        raise UsageError(f"{name!r} is a blend, which cannot be taught; teach one of its models, and blend again.")
    if not card.backbone_digest:
        raise ModelUnavailable(f"The card of {name!r} was written by an older moodex; train the model again, or teach another.")
    if card.embedder_key != in_use_card.embedder_key:
        raise ModelUnavailable(f"The model {name!r}, from which {in_use!r} was taught, has changed since.")
    return BaseModel(name, card, state, in_use, in_use_card)


def _fit(base: BaseModel, examples: TeachingSet, baseline: StyleBaseline | None, check_stop: Callable[[], None]) -> FitResult:
    """Refit the last layer to the plain embeddings, or to the embeddings minus the baseline."""
    replay = replay_examples(base.card, base.state) or _library_sample(base, examples)
    head = extract_head(base.card, base.state) if reads_stored(base.card) else _approximate_head(base.card, replay)
    plain = classifier_input(base.card, examples.vectors)
    input_forms = [plain] if baseline is None else [plain, classifier_input(base.card, examples.vectors, baseline)]
    if base.is_in_use and not reads_stored(base.card):
        predicted: Sequence[str] = examples.predicted_before
    else:  # stored predictions may have been read beside look-alikes, unlike those of the new head
        predicted = [head.labels[best] for best in head.logits(plain).argmax(axis=1)]
    return teach(head, input_forms, examples.labels, replay, predicted, check_stop)


def _save(base: BaseModel, candidate: Candidate, labels: Sequence[str], target: Path) -> Path:
    """Write the checkpoint of a new version, and return the path of its weights."""
    card = replace(
        base.card,
        name=target.stem,
        architecture=taught_architecture(base.card, candidate.baseline),
        labels=candidate.head.labels,
        about={**base.card.about, "taught": _provenance(base, candidate, labels)},
    )
    return checkpoint_arrays.save(target.parent, card, replace_head(base.state, candidate.head, candidate.baseline))


def _provenance(base: BaseModel, candidate: Candidate, labels: Sequence[str]) -> dict[str, Any]:
    """Return the field `taught` in the `about` of a version's card."""
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


def _scorer(card: ModelCard, state: Arrays) -> EmbeddingScorer:
    """Return the scorer of a checkpoint, given its tensors with the replay set."""
    return EmbeddingScorer.from_tensors(card, state)


def _library_sample(base: BaseModel, examples: TeachingSet) -> Examples:
    """Return a substitute for a missing replay set: predictions for a sample of the library.

    Raises ModelUnavailable if the model in use, which made these predictions, has other labels than the base model.
    """
    if base.in_use_card.labels != base.card.labels:
        raise ModelUnavailable(f"The model {base.card.name!r} has no replay set; make it the default, and teach that model.")
    sample = slice(None, None, max(1, len(examples.sample_vectors) // REPLAY_SET_SIZE))
    vectors = classifier_input(base.card, examples.sample_vectors[sample])
    return Examples(vectors, examples.sample_probabilities[sample])


def _approximate_head(card: ModelCard, replay: Examples) -> Head:
    """Approximate a last layer on features by one on unit vectors, fitted to the replay set."""
    labels, size = len(card.labels), replay.vectors.shape[1]
    empty = Head(card.labels, np.zeros((labels, size), dtype=np.float32), np.zeros(labels, dtype=np.float32))
    return refit(empty, replay, replay.take([]), _APPROXIMATION_SETTINGS)


def _unused_name(taken: Collection[str], base: str) -> str:
    return next(name for name in (f"{base}-taught-{number}" for number in count(1)) if name not in taken)
