"""The two parts of an embedding: expression and appearance."""

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


def build_network(modifiers: str) -> Network:
    torch.manual_seed(0)
    return architecture(f"efficientnet_lite0{modifiers}").build(4, 64).eval()


def test_each_part_of_an_embedding_has_length_one() -> None:
    network = build_network("+spaces")
    embedding = network(IMAGES).embedding
    assert network.spaces == (("feel", SIZE), ("look", SIZE)) and embedding.shape == (3, network.embedding_size) == (3, 2 * SIZE)
    for part in embedding.split(SIZE, dim=1):
        torch.testing.assert_close(part.norm(dim=1), torch.ones(3))
    torch.testing.assert_close(embedding[:, :SIZE], normalize(network(IMAGES).features))


@pytest.mark.parametrize("modifiers", ["+spaces", "+unit", "+spaces+whole", "+dense64+unit"])
def test_the_classifier_reads_the_embedding_as_it_is_stored(modifiers: str) -> None:
    network = build_network(modifiers)
    with torch.no_grad():
        logits, _, embedding = network(IMAGES)
        classifier_input = embedding.clone()
        if network.spaces:
            classifier_input[:, SIZE:] *= SHARE
        classifier_input = classifier_input[:, : network.classifier.in_features]
        torch.testing.assert_close(network.classifier(classifier_input * EMBEDDING_LENGTH), logits, atol=1e-5, rtol=1e-4)


def test_a_network_without_spaces_has_its_features_as_embedding() -> None:
    network = build_network("")
    with torch.no_grad():
        torch.testing.assert_close(network(IMAGES).embedding, normalize(network.features(IMAGES)))
    assert network.spaces == ()


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
    network = build_network("+spaces").train()
    assert not [name for name, _ in network.from_input() if name.startswith("look.")]
    network(IMAGES).logits.sum().backward()
    assert all(parameter.grad is None for parameter in network.look.parameters())  # type: ignore[union-attr]


def test_characters_are_separated_across_emotions() -> None:
    """Characters differ slightly in a few dimensions; their expressions differ much more in others."""
    random = np.random.default_rng(0)
    projection = AppearanceProjection(channels=10)
    character_directions, expression_directions = (np.linalg.qr(random.normal(size=(160, 20)))[0].T for _ in range(2))
    characters, expressions = np.repeat(np.arange(60), 6), random.normal(size=(360, 20)) * 5
    character_features = random.normal(size=(60, 20))
    features = (
        character_features[characters] @ character_directions
        + expressions @ expression_directions
        + random.normal(size=(360, 160)) * 0.1
    )
    trained, new = characters < 40, characters >= 40

    def nearest_neighbor_accuracy(vectors: torch.Tensor) -> float:
        centered = normalize(vectors - vectors.mean(dim=0))
        similarity = (centered @ centered.T).fill_diagonal_(-2)
        return float((characters[new][similarity.argmax(dim=1)] == characters[new]).mean())

    channels = torch.from_numpy(features).float()
    assert nearest_neighbor_accuracy(channels[new]) < 0.3
    projection.fit(channels[trained], characters[trained])
    assert nearest_neighbor_accuracy(projection.project(channels[new])) > 0.95
