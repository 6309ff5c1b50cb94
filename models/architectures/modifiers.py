"""Modifiers of architectures, which follow the name of one: `googlenet+plain+dropout`. Imports no torch."""

from __future__ import annotations

from collections.abc import Collection

MODIFIERS: dict[str, str] = {
    "leaky_relu": "leaky ReLU (slope 0.1) instead of ReLU",
    "batch_norm": "batch norm after every convolution and dense layer",
    "plain": "no batch norm, as the network was published",
    "dense64": "one dense layer of 64 before the classifier",
    "dense64x2": "two dense layers of 64 before the classifier",
    "dropout": "dropout of one half before the classifier",
    "extra_inception": "one more Inception after blocks 3 and 5",
    "unit": "the classifier reads the embedding at unit length, as it is stored",
    "spaces": "an embedding of two parts of 128, expression and appearance; the classifier reads the first, at unit length",
    "whole": "the classifier reads both parts of the embedding, so that taught labels may depend on appearance",
    "usual": "the classifier reads the expression minus the mean expression of images with a similar appearance",
}
"""Modifiers and their meanings, in the order in which a name lists them."""


def modifiers_of(name: str) -> frozenset[str]:
    """Return the modifiers in the name of an architecture."""
    return frozenset(name.split("+")[1:])


def with_modifiers(name: str, added: Collection[str]) -> str:
    """Return the name of an architecture with more modifiers, which are in `MODIFIERS`."""
    modifiers = modifiers_of(name) | set(added)
    return "+".join([name.split("+", maxsplit=1)[0], *(modifier for modifier in MODIFIERS if modifier in modifiers)])
