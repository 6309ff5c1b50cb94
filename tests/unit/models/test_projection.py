"""The projection of embeddings: similar vectors come near each other, also those that are placed later."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from indexer.domain.errors import Interrupted, MissingExtra
from models import projection
from models.projection import TsneProjector

if TYPE_CHECKING:
    from indexer.domain.types import Floats

pytest.importorskip("openTSNE", reason="needs the extra map")


def families(count: int, seed: int) -> tuple[list[int], Floats]:
    """Return vectors of length 1 around three centers, and the number of the center of each."""
    centers, random = np.random.default_rng(1).normal(size=(3, 16)), np.random.default_rng(seed)
    family = random.integers(0, 3, count)
    vectors = centers[family] + 0.2 * random.normal(size=(count, 16))
    return family.tolist(), (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def nearest_family(positions: Floats, family: list[int], places: Floats) -> list[int]:
    centers = np.stack([positions[np.array(family) == number].mean(axis=0) for number in range(3)])
    return np.linalg.norm(places[:, None] - centers, axis=2).argmin(axis=1).tolist()


@pytest.mark.heavy
def test_families_stay_apart_and_further_vectors_join_theirs() -> None:
    family, vectors = families(90, 2)
    steps: list[int] = []
    fitted = TsneProjector().fit(vectors, steps.append)
    assert sum(steps) == TsneProjector.steps
    assert fitted.positions.dtype == np.float32 and np.isfinite(fitted.positions).all()
    assert nearest_family(fitted.positions, family, fitted.positions) == family
    others, further = families(30, 3)
    assert nearest_family(fitted.positions, family, fitted.place(further)) == others


@pytest.mark.parametrize("count", [1, 2, 3, 9])
def test_few_vectors_have_places_too(count: int) -> None:
    _, vectors = families(count, 4)
    fitted = TsneProjector().fit(vectors, lambda _: None)
    assert fitted.positions.shape == (count, 2)
    assert fitted.place(vectors) == pytest.approx(fitted.positions)


@pytest.mark.heavy
def test_a_stop_ends_the_fit() -> None:
    def stop(_: int) -> None:
        raise Interrupted("Stopped.", 2)

    with pytest.raises(Interrupted):
        TsneProjector().fit(families(60, 5)[1], stop)


def test_without_the_package_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("indexer.system.optional.find_spec", lambda name: None if name == "openTSNE" else object())
    with pytest.raises(MissingExtra, match=r"moodex\[map\]"):
        projection.TsneProjector()
