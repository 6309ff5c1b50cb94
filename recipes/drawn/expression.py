"""Expressions: emotions as action units, and the signs that drawings add to them.

Units are those of the Facial Action Coding System (Ekman, Friesen and Hager, 2002): 1 inner brow raiser, 2 outer brow raiser, 4
brow lowerer, 5 upper lid raiser, 6 cheek raiser, 7 lid tightener, 9 nose wrinkler, 10 upper lip raiser, 12 lip corner puller, 15
lip corner depressor, 17 chin raiser, 18 lip pucker, 20 lip stretcher, 23 lip tightener, 25 lips part, 26 jaw drop, 43 eyes
closed, 54 head down, 61 eyes turned away, 64 eyes down. The six basic emotions follow EMFACS (Friesen and Ekman, 1983), and
embarrassment follows Keltner (1995). Crying is the sad face with tears, with a closed mouth or wailing (Vingerhoets, 2013).
"Pleased" is a calm, gentle smile with relaxed lids.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

Range = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Prototype:
    """One way to show an emotion: ranges of unit strengths, 0-1, probabilities of signs, and a weight."""

    weight: float
    units: Mapping[int, Range]
    signs: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Expression:
    """An expression: the strength of each unit, 0-1, and the signs that are drawn."""

    emotion: str
    units: Mapping[int, float]
    signs: frozenset[str]

    def unit(self, number: int) -> float:
        """Return the strength of a unit, 0-1."""
        return self.units.get(number, 0.0)


PROTOTYPES: Mapping[str, tuple[Prototype, ...]] = {
    "happy": (
        Prototype(4, {6: (0.2, 0.9), 12: (0.6, 1.0)}, {"blush": 0.15, "sparkle": 0.04}),
        Prototype(
            4, {6: (0.2, 0.8), 12: (0.6, 1.0), 25: (0.8, 1.0), 26: (0.3, 0.9)}, {"teeth": 0.5, "tongue": 0.4, "blush": 0.15}
        ),
        Prototype(
            3,
            {6: (1.0, 1.0), 12: (0.7, 1.0), 25: (1.0, 1.0), 26: (0.4, 1.0), 43: (1.0, 1.0)},
            {"arched lids": 0.85, "squeezed lids": 0.12, "teeth": 0.4, "tongue": 0.5, "blush": 0.25},
        ),
        Prototype(1, {6: (0.5, 1.0), 12: (0.7, 1.0), 25: (1.0, 1.0)}, {"clenched": 1.0}),
    ),
    "pleased": (
        Prototype(3, {12: (0.3, 0.6), 43: (1.0, 1.0)}, {"arched lids": 0.4, "blush": 0.35}),
        Prototype(1, {12: (0.3, 0.6), 6: (0.2, 0.5), 43: (0.35, 0.6)}, {"blush": 0.3}),
        Prototype(1, {12: (0.4, 0.7), 43: (0.3, 0.6), 2: (0.1, 0.4)}, {"smirk": 1.0}),
    ),
    "sad": (
        Prototype(4, {1: (0.5, 1.0), 4: (0.1, 0.4), 15: (0.4, 1.0), 17: (0.0, 0.7), 64: (0.0, 0.6)}, {}),
        Prototype(
            2, {1: (0.5, 1.0), 4: (0.1, 0.4), 15: (0.4, 0.9), 43: (0.25, 0.55), 64: (0.3, 1.0), 54: (0.2, 0.8)}, {"gloom": 0.1}
        ),
        Prototype(1, {1: (0.5, 1.0), 15: (0.4, 0.9), 43: (1.0, 1.0), 54: (0.0, 0.8)}, {}),
        Prototype(1, {1: (0.6, 1.0), 15: (0.5, 1.0), 25: (0.5, 1.0), 26: (0.1, 0.35)}, {"big pupils": 0.5}),
    ),
    "crying": (
        Prototype(3, {1: (0.5, 1.0), 4: (0.1, 0.5), 15: (0.5, 1.0), 17: (0.2, 0.8)}, {"tear": 0.6, "stream": 0.4, "blush": 0.15}),
        Prototype(
            3,
            {1: (0.5, 1.0), 15: (0.3, 0.8), 25: (1.0, 1.0), 26: (0.4, 1.0), 43: (1.0, 1.0)},
            {"stream": 0.7, "tear": 0.3, "squeezed lids": 0.35, "blush": 0.2},
        ),
        Prototype(2, {1: (0.5, 1.0), 15: (0.4, 0.9), 43: (1.0, 1.0)}, {"stream": 0.6, "tear": 0.4}),
        Prototype(
            1, {1: (0.6, 1.0), 15: (0.3, 0.8), 20: (0.3, 0.8)}, {"welling": 1.0, "wavy": 0.7, "big pupils": 0.5, "tear": 0.5}
        ),
    ),
    "angry": (
        Prototype(4, {4: (0.6, 1.0), 7: (0.2, 0.7), 15: (0.3, 0.8), 23: (0.0, 0.6)}, {"vein": 0.15}),
        Prototype(
            3,
            {4: (0.6, 1.0), 5: (0.0, 0.5), 10: (0.2, 0.7), 25: (1.0, 1.0), 26: (0.3, 0.9), 15: (0.3, 0.8)},
            {"teeth": 0.7, "fangs": 0.1, "vein": 0.25, "blush": 0.1, "steam": 0.08},
        ),
        Prototype(
            2, {4: (0.7, 1.0), 7: (0.1, 0.6), 10: (0.3, 0.8), 15: (0.2, 0.6), 25: (1.0, 1.0)}, {"clenched": 1.0, "vein": 0.2}
        ),
        Prototype(1, {4: (0.6, 1.0), 7: (0.4, 0.8), 17: (0.3, 0.8), 23: (0.5, 1.0)}, {"puffed": 0.6, "vein": 0.15}),
    ),
    "surprise": (
        Prototype(
            4,
            {1: (0.6, 1.0), 2: (0.6, 1.0), 5: (0.5, 1.0), 18: (0.3, 1.0), 25: (1.0, 1.0), 26: (0.3, 1.0)},
            {"exclaim": 0.07, "small pupils": 0.2},
        ),
        Prototype(2, {1: (0.7, 1.0), 2: (0.7, 1.0), 5: (0.7, 1.0), 25: (1.0, 1.0), 26: (0.7, 1.0)}, {"small pupils": 0.35}),
        Prototype(1, {1: (0.7, 1.0), 2: (0.7, 1.0), 5: (0.6, 1.0), 18: (0.8, 1.0)}, {"small mouth": 1.0, "exclaim": 0.1}),
    ),
    "fear": (
        Prototype(
            3,
            {
                1: (0.6, 1.0),
                2: (0.2, 0.5),
                4: (0.2, 0.5),
                5: (0.6, 1.0),
                20: (0.4, 1.0),
                25: (0.6, 1.0),
                26: (0.1, 0.5),
                15: (0.3, 0.7),
            },
            {"sweat": 0.4, "gloom": 0.25, "small pupils": 0.5},
        ),
        Prototype(
            3,
            {1: (0.6, 1.0), 2: (0.1, 0.4), 4: (0.2, 0.5), 5: (0.5, 1.0), 20: (0.3, 0.9), 15: (0.2, 0.6)},
            {"wavy": 0.8, "sweat": 0.45, "gloom": 0.3, "small pupils": 0.5},
        ),
        Prototype(
            2,
            {1: (0.6, 1.0), 4: (0.2, 0.5), 5: (0.5, 1.0), 20: (0.5, 1.0), 15: (0.2, 0.5), 25: (1.0, 1.0)},
            {"clenched": 1.0, "sweat": 0.4, "gloom": 0.3, "small pupils": 0.4},
        ),
    ),
    "disgust": (
        Prototype(
            4, {9: (0.5, 1.0), 10: (0.3, 0.9), 15: (0.4, 0.9), 4: (0.2, 0.6), 7: (0.3, 0.8)}, {"lopsided": 0.5, "green": 0.1}
        ),
        Prototype(
            2,
            {9: (0.5, 1.0), 10: (0.3, 0.8), 15: (0.3, 0.8), 4: (0.2, 0.6), 7: (0.3, 0.8), 25: (1.0, 1.0), 26: (0.2, 0.6)},
            {"tongue out": 0.8, "green": 0.1, "squeezed lids": 0.15},
        ),
        Prototype(
            2,
            {9: (0.4, 1.0), 10: (0.5, 1.0), 15: (0.3, 0.7), 4: (0.2, 0.5), 7: (0.4, 0.8), 61: (0.5, 1.0)},
            {"wavy": 0.6, "lopsided": 0.4},
        ),
    ),
    "embarrassed": (
        Prototype(
            3, {12: (0.1, 0.4), 1: (0.2, 0.6), 61: (0.5, 1.0), 64: (0.2, 0.8), 54: (0.2, 0.8)}, {"blush": 1.0, "sweat": 0.3}
        ),
        Prototype(2, {1: (0.3, 0.8), 20: (0.2, 0.5), 61: (0.4, 1.0)}, {"blush": 1.0, "wavy": 0.7, "sweat": 0.3}),
        Prototype(1, {1: (0.3, 0.7), 5: (0.1, 0.4), 18: (0.3, 0.7)}, {"blush": 1.0, "small mouth": 0.7, "sweat": 0.4}),
        Prototype(
            1, {12: (0.1, 0.4), 1: (0.3, 0.7), 43: (1.0, 1.0), 25: (0.5, 1.0)}, {"blush": 1.0, "sweat": 0.4, "squeezed lids": 0.4}
        ),
    ),
    "neutral": (
        Prototype(4, {}, {"blush": 0.08}),
        Prototype(1, {43: (0.15, 0.4)}, {}),
        Prototype(1, {61: (0.3, 1.0)}, {"blush": 0.05}),
    ),
}  # fmt: skip

TEARS = frozenset({"tear", "stream", "welling"})
"""A crying face has at least one of these signs."""

_MAX_MEANINGLESS_STRENGTH = 0.06
"""A unit up to this strength does not show an emotion."""


def express(emotion: str, random: np.random.Generator) -> Expression:
    """Choose a random prototype of an emotion, at a random strength."""
    prototypes = PROTOTYPES[emotion]
    weights = np.array([prototype.weight for prototype in prototypes], dtype=float)
    prototype = prototypes[int(random.choice(len(prototypes), p=weights / weights.sum()))]
    units = {number: float(random.uniform(0, _MAX_MEANINGLESS_STRENGTH)) for number in (1, 2, 4, 6, 7, 12, 15)}
    units |= {number: float(random.uniform(low, high)) for number, (low, high) in prototype.units.items()}
    signs = frozenset(sign for sign, chance in prototype.signs.items() if random.random() < chance)
    if emotion == "crying" and not signs & TEARS:
        signs |= {"tear"}
    return Expression(emotion, units, signs)
