"""Characters and styles: everything that stays the same while the expression of a character changes."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

import numpy as np

Color = tuple[float, float, float]
"""Red, green and blue, 0-1."""

SPECIES = {"human": 0.58, "animal": 0.18, "blob": 0.1, "emoji": 0.1, "robot": 0.04}
EYES = ("dot", "oval", "goggle", "cartoon", "manga", "almond", "bead")
SHADINGS = ("flat", "cel", "soft", "line", "tone", "hatch")


@dataclass(frozen=True, slots=True)
class Style:
    """A drawing style. Widths are in head heights; probabilities and shares are 0-1."""

    line: float
    """Width of outlines; 0: none."""
    detail: float
    """Width of the lines inside the face."""
    ink: Color
    colored_ink: bool
    wobble: float
    shading: str
    gray: bool
    eyes: str
    brows: str
    mouth: str
    nose: str
    exaggeration: float
    """Exaggeration of the movement of features."""
    pixels: int
    """Side of the image in art pixels; 0: no pixel art."""
    background: str


@dataclass(frozen=True, slots=True)
class Character:
    """A character. Lengths are in half head heights; positions are relative to the center of the head, y down."""

    species: str
    skin: Color
    hair: Color
    iris: Color
    cloth: Color
    accent: Color
    width: float
    chin: float
    """0: round, 1: pointed."""
    square: float
    """0: an ellipse, 1: nearly a box."""
    eye_y: float
    eye_gap: float
    """Distance from the center of the face to the center of an eye."""
    eye_size: float
    eye_tall: float
    """Height of an eye over its width."""
    brow_gap: float
    brow_size: float
    brow_weight: float
    mouth_y: float
    mouth_size: float
    nose_y: float
    nose_size: float
    hair_cut: str
    fringe: str
    ears: str
    muzzle: float
    """Size of a muzzle around mouth and nose; 0: none."""
    whites: bool
    lashes: bool
    glasses: str
    beard: str
    extras: frozenset[str]
    body: str
    seed: int


def invent(random: np.random.Generator) -> tuple[Character, Style]:
    """Generate a random character with a random style."""
    species = _weighted_choice(random, SPECIES)
    chibi = random.random()  # 0: realistic proportions, 1: those of a child
    eye_size = float(np.clip(random.normal(0.13 + 0.13 * chibi, 0.045), 0.06, 0.4))
    eyes = str(random.choice(EYES, p=[0.16, 0.12, 0.14, 0.2, 0.18, 0.12, 0.08]))
    if eyes in ("dot", "bead"):
        eye_size *= 0.62
    eye_gap = float(np.clip(random.normal(0.36, 0.06), eye_size + 0.05, 0.62))
    eye_y = float(random.normal(0.02 + 0.16 * chibi, 0.07))
    mouth_y = float(np.clip(random.normal(0.55 + 0.05 * chibi, 0.06), eye_y + 0.28, 0.74))
    human = species == "human"
    muzzle = float(random.uniform(0.3, 0.5)) if species == "animal" and random.random() < 0.75 else 0.0
    character = Character(
        species=species,
        skin=_skin(random, species),
        hair=_hair(random),
        iris=_color(random, (0.3, 0.9), (0.25, 0.9)),
        cloth=_color(random, (0.1, 0.9), (0.2, 0.95)),
        accent=_color(random, (0.4, 1.0), (0.5, 1.0)),
        width=float(np.clip(random.normal(0.86 if human else 0.98, 0.1), 0.62, 1.25)),
        chin=float(random.uniform(0, 1)) if human else float(random.uniform(0, 0.25)),
        square=1.0 if species == "robot" else float(random.beta(0.6, 5)),
        eye_y=eye_y,
        eye_gap=eye_gap,
        eye_size=eye_size,
        eye_tall=float(random.uniform(0.9, 1.7) if eyes in ("manga", "dot", "oval", "goggle") else random.uniform(0.6, 1.1)),
        brow_gap=float(random.uniform(0.06, 0.2)),
        brow_size=float(random.uniform(0.9, 1.5)),
        brow_weight=float(random.uniform(0.6, 3.2)),
        mouth_y=mouth_y,
        mouth_size=float(np.clip(random.normal(0.28, 0.09), 0.12, 0.5)),
        nose_y=float((eye_y + mouth_y) / 2 + random.uniform(-0.04, 0.1)),
        nose_size=float(random.uniform(0.03, 0.16)),
        hair_cut=str(
            random.choice(
                ["none", "short", "long", "bob", "spiky", "tails", "afro", "bun"],
                p=[0.1, 0.24, 0.2, 0.12, 0.14, 0.07, 0.06, 0.07],
            )
        )
        if human
        else "none",
        fringe=str(random.choice(["none", "straight", "swept", "spikes", "curtain"])),
        ears=_ears(random, species),
        muzzle=muzzle,
        whites=bool(random.random() < 0.5),
        lashes=bool(random.random() < 0.3),
        glasses=str(random.choice(["none", "round", "square"], p=[0.86, 0.08, 0.06])) if species != "robot" else "none",
        beard=str(random.choice(["none", "full", "moustache", "goatee"], p=[0.86, 0.06, 0.04, 0.04])) if human else "none",
        extras=frozenset(extra for extra, chance in _EXTRAS.items() if random.random() < chance),
        body=str(random.choice(["none", "shoulders"], p=[0.4, 0.6] if human else [0.75, 0.25])),
        seed=int(random.integers(2**31)),
    )
    return character, _style(random, eyes, species)


_EXTRAS = {
    "freckles": 0.08,
    "cap": 0.06,
    "earrings": 0.08,
    "headphones": 0.03,
    "bow": 0.05,
    "scar": 0.03,
    "horns": 0.03,
    "cheeks": 0.1,
}


def _style(random: np.random.Generator, eyes: str, species: str) -> Style:
    line = 0.0 if random.random() < 0.22 else float(random.uniform(0.012, 0.06))
    pixels = int(random.integers(26, 72)) if random.random() < 0.16 else 0
    return Style(
        line=line,
        detail=float(random.uniform(0.02, 0.05)) if line == 0 else line * float(random.uniform(0.7, 1.4)),
        ink=_color(random, (0.0, 0.5), (0.0, 0.3)),
        colored_ink=bool(random.random() < 0.3),
        wobble=float(random.choice([0.0, random.uniform(0.2, 1.0)], p=[0.75, 0.25])),
        shading=str(random.choice(SHADINGS, p=[0.36, 0.2, 0.2, 0.1, 0.08, 0.06])),
        gray=bool(random.random() < 0.16),
        eyes=eyes,
        brows=_brows(random, species),
        mouth=str(random.choice(["line", "lips", "cat"], p=[0.78, 0.14, 0.08])),
        nose="none"
        if species in ("emoji", "robot", "blob") and random.random() < 0.8
        else str(random.choice(["none", "dot", "hook", "wedge", "button", "shade", "nostrils"])),
        exaggeration=float(random.uniform(0.75, 1.5)),
        pixels=pixels,
        background=str(
            random.choice(["white", "plain", "gradient", "shapes", "noise", "disc"], p=[0.25, 0.3, 0.14, 0.15, 0.06, 0.1])
        ),
    )


def _brows(random: np.random.Generator, species: str) -> str:
    bare = 0.55 if species in ("emoji", "blob", "robot") else 0.05
    return "none" if random.random() < bare else str(random.choice(["line", "taper", "block", "round"]))


def _weighted_choice(random: np.random.Generator, shares: dict[str, float]) -> str:
    return str(random.choice(list(shares), p=list(shares.values())))


def _color(random: np.random.Generator, saturation: tuple[float, float], value: tuple[float, float]) -> Color:
    return colorsys.hsv_to_rgb(random.random(), random.uniform(*saturation), random.uniform(*value))


def _skin(random: np.random.Generator, species: str) -> Color:
    if species == "emoji" and random.random() < 0.75:
        return colorsys.hsv_to_rgb(random.uniform(0.1, 0.16), random.uniform(0.5, 1), random.uniform(0.9, 1))
    if species == "human" and random.random() < 0.8:
        return colorsys.hsv_to_rgb(random.uniform(0.03, 0.1), random.uniform(0.12, 0.7), random.uniform(0.3, 1.0))
    if species == "robot":
        return _color(random, (0.0, 0.3), (0.4, 0.95))
    return _color(random, (0.1, 0.9), (0.35, 1.0))


def _hair(random: np.random.Generator) -> Color:
    if random.random() < 0.6:
        return colorsys.hsv_to_rgb(random.uniform(0.02, 0.13), random.uniform(0.2, 0.8), random.uniform(0.05, 0.95))
    return _color(random, (0.0, 0.9), (0.1, 1.0))


def _ears(random: np.random.Generator, species: str) -> str:
    if species == "human":
        return str(random.choice(["round", "none", "elf", "cat"], p=[0.74, 0.16, 0.05, 0.05]))
    if species == "animal":
        return str(random.choice(["cat", "bear", "rabbit", "dog"]))
    return "none"
