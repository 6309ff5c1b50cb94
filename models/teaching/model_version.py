"""A new version of a model: the same network with a last layer that has learned from a person's labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from itertools import count
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from indexer.domain.errors import ModelUnavailable, UsageError
from indexer.domain.models import ModelCard
from models import checkpoint
from models.model_card import read_card
from models.style_baseline import StyleBaseline, fit_baseline
from models.style_baseline import load_baseline as stored_usual
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
    from indexer.domain.reports import TeachingSet
    from indexer.domain.types import Floats, Halves
    from models.model_registry import FolderModelRegistry

_FIRST_PULL = RefitSettings(share=1.0, anchor=1e-4)


@dataclass(frozen=True, slots=True)
class EmbeddingScorer:
    """What answers for a model from stored embeddings: its last layer, and what is usual if it reads beside that."""

    card: ModelCard
    head: Head
    usual: StyleBaseline | None

    def score(self, embeddings: Halves) -> Floats:
        """What the model says of stored embeddings, float16, (N, embedding size): float32, (N, labels)."""
        return self.head.probabilities(classifier_input(self.card, embeddings, self.usual))


@dataclass(frozen=True, slots=True)
class Version:
    """What teaching came to. `new` answers for the new version; None where the old one stays, perhaps as it is `already` that."""

    taught: FitResult
    new: EmbeddingScorer | None
    already: bool = False


def learn(
    registry: FolderModelRegistry,
    in_use: str,
    lesson: TeachingSet,
    name: str | None,
    taken: Collection[str],
    check_stop: Callable[[], None],
) -> Version:
    """Teach the model in use and write the new version beside the user's other models: under a number that is not among the
    `taken` names, where it gets no `name`. `check_stop` is called now and then, and may raise.

    A version that was taught before is not taught on: its first model is, from all labels there are, so that a label that was
    taken back leaves no trace. It is compared with that model, too, for the version in use has seen some of the labels. Raises
    ModelUnavailable where that model has gone or changed, UsageError for a name that cannot be one or labels from which nothing
    can be told.
    """
    card = read_card(registry.find(in_use))
    first = str(card.about.get("taught", {}).get("from", in_use))
    base, stored = checkpoint.load_all(registry.find(first))
    if not base.backbone_digest:
        raise ModelUnavailable(f"The card of {first!r} is an older moodex's; train the model again, or teach another.")
    if base.embedder_key != card.embedder_key:
        raise ModelUnavailable(f"The model {first!r}, which {in_use!r} was taught from, is another one now.")
    target = registry.place(name or _free_name({*taken, *(model.name for model in registry)}, first))
    remembered = replay_examples(base, stored) or _sampled(base, card, lesson)
    old = extract_head(base, stored) if reads_stored(base) else _from_nothing(base, remembered)
    usual = fit_baseline(base, lesson.sample_vectors) if base.spaces else None
    vectors = classifier_input(base, lesson.vectors)
    readings = [vectors] if usual is None else [vectors, classifier_input(base, lesson.vectors, usual)]
    said = lesson.said_before if in_use == first else [old.labels[best] for best in old.logits(vectors).argmax(axis=1)]
    taught = teach(old, readings, lesson.labels, remembered, said, check_stop)
    if taught.head is None:
        return Version(taught, None)
    usual = usual if taught.reading else None
    about = {
        **base.about,
        "taught": {
            "from": first,
            "before": in_use,
            "labels": dict(sorted(Counter(lesson.labels).items())),
            "balanced_accuracy_before": round(taught.before, 4),
            "balanced_accuracy_after": round(taught.after, 4),
            "tested": taught.tested,
            "beside_what_is_usual": usual is not None,
            "share": taught.pull.share,
            "anchor": taught.pull.anchor,
        },
    }
    kind = taught_architecture(base, usual)
    new = replace(base, name=target.stem, architecture=kind, labels=taught.head.labels, about=about)
    path = checkpoint.save(target.parent, new, replace_head(stored, taught.head, usual))
    if read_card(path).key == card.key:
        registry.remove(target.stem)
        return Version(taught, None, already=True)
    return Version(taught, _answering(*checkpoint.load(path)))


def earlier(registry: FolderModelRegistry, in_use: str) -> tuple[str, EmbeddingScorer | None]:
    """The model that was in use before a version was taught: its name, and what answers for it if it reads what is stored.

    Raises UsageError for a model that was not taught, ModelUnavailable where the earlier one has gone.
    """
    taught = read_card(registry.find(in_use)).about.get("taught")
    if taught is None:
        raise UsageError(f"The model in use, {in_use!r}, was not taught; there is nothing to undo.")
    name = str(taught["before"])
    try:
        card, state = checkpoint.load(registry.find(name))
    except ModelUnavailable as error:
        raise ModelUnavailable(f"There is no way back to {name!r}. {error} Choose another: moodex models default NAME") from error
    return name, _answering(card, state) if reads_stored(card) else None


def _answering(card: ModelCard, state: Mapping[str, Tensor]) -> EmbeddingScorer:
    return EmbeddingScorer(
        card, extract_head(card, state), stored_usual({name: values.numpy() for name, values in state.items()})
    )


def _sampled(base: ModelCard, card: ModelCard, lesson: TeachingSet) -> Examples:
    """For a model without memory: what it says of some of the library's pictures."""
    if card.labels != base.labels:
        raise ModelUnavailable(f"The model {base.name!r} remembers nothing of its training; make it the default, and teach that.")
    some = slice(None, None, max(1, len(lesson.sample_vectors) // SIZE))
    vectors = classifier_input(base, lesson.sample_vectors[some])
    return Examples(torch.from_numpy(vectors), torch.from_numpy(lesson.sample_probabilities[some].copy()))


def _from_nothing(base: ModelCard, remembered: Examples) -> Head:
    """A last layer on unit vectors for a model whose own reads others: it says of what is remembered what the model says."""
    labels, size = len(base.labels), remembered.vectors.shape[1]
    nothing = Head(base.labels, torch.zeros(labels, size), torch.zeros(labels))
    return refit(nothing, remembered, remembered.take([]), _FIRST_PULL)


def _free_name(taken: Collection[str], first: str) -> str:
    return next(name for name in (f"{first}-taught-{number}" for number in count(1)) if name not in taken)
