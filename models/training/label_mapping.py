"""Mapping of the labels of a data set to emotions, by the vocabulary of `indexer.domain.emotions` and rules of the user."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from indexer.domain.emotions import OUTCOMES, canonical
from indexer.domain.errors import UnknownEmotion, UsageError


@dataclass(frozen=True, slots=True)
class Labels:
    """The emotions that the labels of a data set mean.

    `own` has the rules of the user, which override the vocabulary: emotions by label in lower case; None skips its images.
    """

    own: Mapping[str, str | None] = field(default_factory=dict)

    @classmethod
    def from_rules(cls, rules: Iterable[str]) -> Labels:
        """Parse rules such as `smug=pleased`, or `smug=` to skip the images of a label.

        Raises UsageError for another format, UnknownEmotion for an unknown emotion.
        """
        own: dict[str, str | None] = {}
        for rule in rules:
            word, equals, emotion = (part.strip() for part in rule.partition("="))
            if not word or not equals:
                raise UsageError(f"{rule!r} does not map a label; write --map WORD=EMOTION, or --map WORD= to skip its images.")
            own[word.lower()] = canonical(emotion) if emotion else None
        return cls(own)

    def knows(self, word: str) -> bool:
        """Return whether a label has a rule or is in the vocabulary."""
        try:
            self.emotion(word)
        except UnknownEmotion:
            return False
        return True

    def emotion(self, word: str) -> str | None:
        """Return the emotion that a label means; None if its images are skipped. Raises UnknownEmotion."""
        lower = word.strip().lower()
        return self.own[lower] if lower in self.own else canonical(word)


def unknown_labels(words: Iterable[str], where: object) -> UsageError:
    """Return the error for labels that are not emotions; `where` is their data set."""
    listed = ", ".join(sorted(repr(word) for word in set(words)))
    return UsageError(
        f"These labels in {where} are not emotions: {listed}. Map them with --map WORD=EMOTION, or skip their images "
        f"with --map WORD=; moodex knows {', '.join(OUTCOMES)} and their synonyms."
    )
