"""The canonical emotions, their synonyms, and their sub-emotions.

The ten canonical emotions join the vocabularies of FERG-DB (anger, disgust, fear, joy, neutral, sadness, surprise) and of the
manga set (angry, crying, embarrassed, happy, pleased, sad, shock). Wherever an emotion can be given, `NONE` can.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
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


def canonical(word: str, known: Iterable[str] = OUTCOMES) -> str:
    """Return the canonical emotion that `word` names, in any vocabulary and case.

    `known` are the possible emotions: a model may know more than those of this module.
    Raises UnknownEmotion, with the most similar emotion or synonym if there is one.
    """
    emotions = tuple(known)
    wanted = folded(word)
    if wanted in emotions:
        return wanted
    if SYNONYMS.get(wanted) in emotions:
        return SYNONYMS[wanted]
    words = [*emotions, *(synonym for synonym, emotion in SYNONYMS.items() if emotion in emotions)]
    near = get_close_matches(wanted, words, n=1, cutoff=0.6)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    raise UnknownEmotion(f"Unknown emotion '{word}'.{hint} Known emotions: {', '.join(emotions)}.")


def folded(word: str) -> str:
    """Normalize a word for comparison: stripped, lower case, Unicode NFC."""
    return normalize("NFC", word.strip().lower())


def with_children(emotion: str) -> frozenset[str]:
    """Return an emotion together with its sub-emotions."""
    return frozenset({emotion, *(child for child, parent in PARENTS.items() if parent == emotion)})
