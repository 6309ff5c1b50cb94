"""The canonical emotions, their synonyms, and their sub-emotions.

The ten canonical emotions join the vocabularies of FERG-DB (anger, disgust, fear, joy, neutral, sadness, surprise) and of the
manga set (angry, crying, embarrassed, happy, pleased, sad, shock). Wherever an emotion can be given, `NONE` can.
"""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches
from itertools import islice
from unicodedata import normalize

from indexer.domain.errors import UnknownEmotion

NEUTRAL = "neutral"
NONE = "none"
"""The outcome for an image without a face, or with nothing to tell an emotion by."""

EMOTIONS: tuple[str, ...] = (
    "happy",
    "sad",
    "angry",
    "surprise",
    "fear",
    "disgust",
    NEUTRAL,
    "crying",
    "embarrassed",
    "pleased",
)

OUTCOMES: tuple[str, ...] = (*EMOTIONS, NONE)
"""What a prediction or a label can be, besides the own emotions of a user or a model."""

PARENTS: dict[str, str] = {"pleased": "happy", "crying": "sad"}

SYNONYMS: dict[str, str] = {
    "happiness": "happy",
    "joy": "happy",
    "joyful": "happy",
    "cheerful": "happy",
    "glad": "happy",
    "laughing": "happy",
    "smile": "happy",
    "smiling": "happy",
    "sadness": "sad",
    "unhappy": "sad",
    "sorrow": "sad",
    "sorrowful": "sad",
    "anger": "angry",
    "mad": "angry",
    "rage": "angry",
    "furious": "angry",
    "surprised": "surprise",
    "shock": "surprise",
    "shocked": "surprise",
    "astonished": "surprise",
    "amazed": "surprise",
    "afraid": "fear",
    "fearful": "fear",
    "scared": "fear",
    "frightened": "fear",
    "disgusted": "disgust",
    "calm": "neutral",
    "expressionless": "neutral",
    "blank": "neutral",
    "cry": "crying",
    "weeping": "crying",
    "tears": "crying",
    "tearful": "crying",
    "blush": "embarrassed",
    "blushing": "embarrassed",
    "embarrassment": "embarrassed",
    "shy": "embarrassed",
    "ashamed": "embarrassed",
    "content": "pleased",
    "satisfied": "pleased",
    "relieved": "pleased",
    "pleasure": "pleased",
    "nothing": NONE,
    "empty": NONE,
    "faceless": NONE,
}


_MAX_NAMED, _MAX_COMPARED = 30, 5000
"""Numbers of known emotions that an error names, and that are compared with an unknown word: users may have thousands."""


def find_emotion(word: str, known: Collection[str]) -> str | None:
    """Return the one of the `known` emotions that `word` names, in any vocabulary and case; None without one.

    For many words, `known` should be a set or the keys of a mapping.
    """
    wanted = folded(word)
    if wanted in known:
        return wanted
    return SYNONYMS[wanted] if SYNONYMS.get(wanted) in known else None


def canonical(word: str, known: Collection[str] = OUTCOMES) -> str:
    """Return the canonical emotion that `word` names, see `find_emotion`.

    `known` are the possible emotions: a model may know more than those of this module.
    Raises UnknownEmotion, with the most similar emotion or synonym if there is one.
    """
    if (emotion := find_emotion(word, known)) is not None:
        return emotion
    words = [*islice(known, _MAX_COMPARED), *(synonym for synonym, emotion in SYNONYMS.items() if emotion in known)]
    near = get_close_matches(folded(word), words, n=1, cutoff=0.6)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    others = f" and {len(known) - _MAX_NAMED:,} more" if len(known) > _MAX_NAMED else ""
    raise UnknownEmotion(f"Unknown emotion '{word}'.{hint} Known emotions: {', '.join(islice(known, _MAX_NAMED))}{others}.")


def folded(word: str) -> str:
    """Normalize a word for comparison: stripped, lower case, Unicode NFC."""
    return normalize("NFC", word.strip().lower())


def with_children(emotion: str) -> frozenset[str]:
    """Return an emotion together with its sub-emotions."""
    return frozenset({emotion, *(child for child, parent in PARENTS.items() if parent == emotion)})


def are_related(first: str, second: str) -> bool:
    """Return whether two emotions are the same, or one is a sub-emotion of the other."""
    return second in with_children(first) or first in with_children(second)
