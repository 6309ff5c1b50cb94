"""The canonical emotions, the words people use for them, and which emotion is a kind of which.

The ten canonical emotions join the vocabularies of FERG-DB (anger, disgust, fear, joy, neutral, sadness, surprise) and of the
manga set (angry, crying, embarrassed, happy, pleased, sad, shock).
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from unicodedata import normalize

from indexer.domain.errors import UnknownEmotion

EMOTIONS: tuple[str, ...] = (
    "happy",
    "sad",
    "angry",
    "surprise",
    "fear",
    "disgust",
    "neutral",
    "crying",
    "embarrassed",
    "pleased",
)

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
}


def canonical(word: str, known: Iterable[str] = EMOTIONS) -> str:
    """The canonical emotion that `word` names, in any vocabulary and any case.

    `known` are the emotions that can be meant (a model may know more than the ten of this module).
    Raises UnknownEmotion, with a suggestion where one is near.
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
    raise UnknownEmotion(f"'{word}' is not an emotion moodex knows.{hint} It knows: {', '.join(emotions)}.")


def folded(word: str) -> str:
    """A word as emotions are compared: lower case, and letters with accents as one character each."""
    return normalize("NFC", word.strip().lower())


def with_children(emotion: str) -> frozenset[str]:
    """The emotion itself and every emotion that is a kind of it."""
    return frozenset({emotion, *(child for child, parent in PARENTS.items() if parent == emotion)})
