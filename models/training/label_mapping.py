"""From the words of a data set to emotions: the vocabulary of `indexer.domain.emotions`, and what the user says beside it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from indexer.domain.emotions import EMOTIONS, canonical
from indexer.domain.errors import UnknownEmotion, UsageError


@dataclass(frozen=True, slots=True)
class Labels:
    """Which emotion a word means. `own` goes before the vocabulary, by lower-case word; None leaves the word's pictures out."""

    own: Mapping[str, str | None] = field(default_factory=dict)

    @classmethod
    def from_rules(cls, rules: Iterable[str]) -> Labels:
        """Rules as a user writes them: `smug=pleased`, or `smug=` to leave it out. Raises UsageError."""
        own: dict[str, str | None] = {}
        for rule in rules:
            word, equals, emotion = (part.strip() for part in rule.partition("="))
            if not word or not equals:
                raise UsageError(f"{rule!r} maps no label; write --map WORD=EMOTION, or --map WORD= to leave its pictures out.")
            own[word.lower()] = canonical(emotion) if emotion else None
        return cls(own)

    def knows(self, word: str) -> bool:
        """Whether the word is a label at all."""
        try:
            self.emotion(word)
        except UnknownEmotion:
            return False
        return True

    def emotion(self, word: str) -> str | None:
        """The emotion that a word means, or None where its pictures are to be left out. Raises UnknownEmotion."""
        lower = word.strip().lower()
        return self.own[lower] if lower in self.own else canonical(word)


def unknown_labels(words: Iterable[str], where: object) -> UsageError:
    """The error for labels that mean nothing yet."""
    listed = ", ".join(sorted(repr(word) for word in set(words)))
    return UsageError(
        f"In {where} these labels name no emotion: {listed}. Say what they mean with --map WORD=EMOTION, or leave their pictures "
        f"out with --map WORD=; moodex knows {', '.join(EMOTIONS)} and their synonyms."
    )
