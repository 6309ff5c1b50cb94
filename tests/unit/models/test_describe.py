from __future__ import annotations

from dataclasses import replace

from indexer.domain.training import WHOLE_IMAGES
from models.training.model_card_markdown import markdown
from tests.unit.models.conftest import lite0_card

FROZEN = {"pictures": 20, "balanced_of_five": 0.5, "chance_of_five": 0.2, "accuracy": 0.4, "ece": 0.1}
TUNED = {**FROZEN, "balanced_of_five": 0.75, "accuracy": 0.6, "ece": 0.05}
ABOUT = {
    "use": ["drawings"],
    "limits": ["no photographs"],
    "temperature": 1.5,
    "recipe": {"size": 64, "seed": 0},
    "pictures": 7,
    "pictures_by_emotion": {"happy": 4, "sad": 3},
    "data": [{"set": "dolls", "pictures": 7, "credit": "Dolls by Anna", "licence": "CC0-1.0", "url": "https://example.org"}],
    "measured": {
        "unseen": {
            "command": "python bench/unseen_artists.py",
            "machine": "a computer",
            "groups": {
                "comics": {
                    "images": 30,
                    "alone": {"five": 0.4},
                    "beside": {
                        "five": 0.45,
                        "five_interval": [0.3, 0.5],
                        "five_mean_of_sets": None,
                        "first_20": {"happy": 0.9, "sad": None},
                        "ece": 0.1,
                    },
                    "none": 0.0,
                    "face": 1.0,
                }
            },
        },
        "notes": ["five of ten"],
        "split": "by artist",
        "folds": [{"held_out": "anna", "frozen": FROZEN, "tuned": TUNED}],
        "mean": {"frozen": FROZEN, "tuned": TUNED},
        "validation": {"smileys": {"frozen": FROZEN, "shipped": TUNED}},
    },
}


def test_a_page_contains_the_facts_of_the_card() -> None:
    lines = markdown(replace(lite0_card(), about=ABOUT)).splitlines()
    assert lines[0] == "# Model card: tiny"
    for line in (
        "- drawings",
        "- no photographs",
        "- Recipe: size 64, seed 0",
        "| anna | 20 | 0.20 | 0.500 | 0.750 | 0.400 | 0.600 | 0.100 | 0.050 |",
        "| smileys | 20 | 0.20 | 0.500 | 0.750 | 0.400 | 0.600 | 0.100 | 0.050 |",
        "| comics | 30 | 0.40 | 0.45 | 0.30 to 0.50 |  | 0.90 / - | 0.10 | 0.00 | 1.00 |",
        "7 images: happy 4, sad 3.",
        "| dolls | 7 | Dolls by Anna | CC0-1.0 | https://example.org |",
    ):
        assert line in lines


def test_a_card_without_facts_gives_a_short_page() -> None:
    page = markdown(lite0_card())
    assert "efficientnet_lite0" in page and "##" not in page


def test_a_page_reports_what_the_model_saw_of_each_image() -> None:
    pages = [markdown(replace(lite0_card(), about=about)) for about in ({}, {"faces": WHOLE_IMAGES}, {"faces": "ab12"})]
    assert ["Trained on" in page for page in pages] == [False, True, True]
    assert "- Trained on whole images\n" in pages[1] and "the detector `ab12`" in pages[2]
