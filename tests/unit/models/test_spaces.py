"""Two spaces in one embedding: what is felt, and how it looks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from models.architectures.embedding_spaces import SIZE, AppearanceProjection
from models.architectures.network import HeadConfig, Network
from models.architectures.registry import architecture
from models.scaling import EMBEDDING_LENGTH, SHARE

IMAGES = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def network(words: str) -> Network:
    torch.manual_seed(0)
    return architecture(f"efficientnet_lite0{words}").build(4, 64).eval()


def test_each_space_has_length_one_and_its_place() -> None:
    built = network("+spaces")
    embedding = built(IMAGES).embedding
    assert built.spaces == (("feel", SIZE), ("look", SIZE)) and embedding.shape == (3, built.embedding_size) == (3, 2 * SIZE)
    for part in embedding.split(SIZE, dim=1):
        torch.testing.assert_close(part.norm(dim=1), torch.ones(3))
    torch.testing.assert_close(embedding[:, :SIZE], normalize(built(IMAGES).features))


@pytest.mark.parametrize("words", ["+spaces", "+unit", "+spaces+whole", "+dense64+unit"])
def test_the_classifier_reads_the_embedding_as_it_is_stored(words: str) -> None:
    built = network(words)
    with torch.no_grad():
        logits, _, embedding = built(IMAGES)
        read = embedding.clone()
        if built.spaces:
            read[:, SIZE:] *= SHARE
        read = read[:, : built.classifier.in_features]
        torch.testing.assert_close(built.classifier(read * EMBEDDING_LENGTH), logits, atol=1e-5, rtol=1e-4)


def test_a_network_without_spaces_has_its_features_as_embedding() -> None:
    built = network("")
    with torch.no_grad():
        torch.testing.assert_close(built(IMAGES).embedding, normalize(built.features(IMAGES)))
    assert built.spaces == ()


@pytest.mark.parametrize(
    ("modifiers", "head"),
    [
        ("", HeadConfig(dense=(9,), dropout=0.2)),
        ("dropout dense64x2 leaky_relu", HeadConfig(dense=(64, 64), dropout=0.5, leaky_relu=True)),
        ("unit batch_norm", HeadConfig(dense=(9,), dropout=0.2, unit_input=True, batch_norm=True)),
        ("spaces", HeadConfig(dense=(9,), dropout=0.2, unit_input=True, spaces=True)),
        ("whole usual", HeadConfig(dense=(9,), dropout=0.2)),
        (
            "spaces whole usual",
            HeadConfig((9,), dropout=0.2, unit_input=True, spaces=True, reads_appearance=True, subtracts_baseline=True),
        ),
    ],
)
def test_modifiers_configure_the_head(modifiers: str, head: HeadConfig) -> None:
    assert HeadConfig.parse(frozenset(modifiers.split()), dense=(9,), dropout=0.2) == head


def test_the_appearance_is_not_trained_with_the_rest() -> None:
    built = network("+spaces").train()
    assert not [name for name, _ in built.from_input() if name.startswith("look.")]
    built(IMAGES).logits.sum().backward()
    assert all(parameter.grad is None for parameter in built.look.parameters())  # type: ignore[union-attr]


def test_characters_are_separated_across_emotions() -> None:
    """Characters differ a little in a few numbers; what they feel moves other numbers much more."""
    random = np.random.default_rng(0)
    look = AppearanceProjection(channels=10)
    identity, feeling = (np.linalg.qr(random.normal(size=(160, 20)))[0].T for _ in range(2))
    characters, feelings = np.repeat(np.arange(60), 6), random.normal(size=(360, 20)) * 5
    who = random.normal(size=(60, 20))
    coarse = who[characters] @ identity + feelings @ feeling + random.normal(size=(360, 160)) * 0.1
    trained, new = characters < 40, characters >= 40

    def nearest_is_right(vectors: torch.Tensor) -> float:
        near = normalize(vectors - vectors.mean(dim=0))
        similar = (near @ near.T).fill_diagonal_(-2)
        return float((characters[new][similar.argmax(dim=1)] == characters[new]).mean())

    given = torch.from_numpy(coarse).float()
    assert nearest_is_right(given[new]) < 0.3
    look.fit(given[trained], characters[trained])
    assert nearest_is_right(look.project(given[new])) > 0.95
