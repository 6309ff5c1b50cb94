from __future__ import annotations

import pytest

from indexer.domain.emotions import EMOTIONS, OUTCOMES, PARENTS, SYNONYMS, canonical, with_children
from indexer.domain.errors import UnknownEmotion


@pytest.mark.parametrize(
    ("word", "emotion"),
    [("happy", "happy"), ("Joy", "happy"), ("JOYFUL", "happy"), ("shock", "surprise"), (" sadness ", "sad"), ("fearful", "fear")],
)
def test_synonyms_in_any_case_become_canonical(word: str, emotion: str) -> None:
    assert canonical(word) == emotion


@pytest.mark.parametrize("word", ["anger", "disgust", "fear", "joy", "neutral", "sadness", "surprise"])
def test_all_labels_of_ferg_db_are_known(word: str) -> None:
    assert canonical(word) in EMOTIONS


@pytest.mark.parametrize("word", ["angry", "crying", "embarrassed", "happy", "pleased", "sad", "shock"])
def test_all_labels_of_the_manga_set_are_known(word: str) -> None:
    assert canonical(word) in EMOTIONS


def test_a_typo_gets_a_suggestion() -> None:
    with pytest.raises(UnknownEmotion, match="Unknown emotion 'hapy'.*Did you mean 'happy'"):
        canonical("hapy")


def test_an_unknown_emotion_gets_the_list() -> None:
    with pytest.raises(UnknownEmotion, match="Known emotions: happy, sad") as caught:
        canonical("qqqq")
    assert "Did you mean" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_only_emotions_of_the_model_are_accepted() -> None:
    assert canonical("smug", ["smug", "happy"]) == "smug"
    with pytest.raises(UnknownEmotion):
        canonical("crying", ["happy"])
    with pytest.raises(UnknownEmotion):
        canonical("tears", ["happy"])


def test_a_parent_emotion_includes_its_children() -> None:
    assert with_children("sad") == {"sad", "crying"}
    assert with_children("crying") == {"crying"}


def test_the_tables_name_only_canonical_emotions() -> None:
    assert set(SYNONYMS.values()) <= set(OUTCOMES)
    assert {*PARENTS, *PARENTS.values()} <= set(EMOTIONS)
    assert not set(SYNONYMS) & set(OUTCOMES)
