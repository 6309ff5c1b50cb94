from __future__ import annotations

import numpy as np
import torch

from models.training.augment import Augment


def faces(count: int = 64, size: int = 48) -> torch.Tensor:
    """A dark disc with white eyes on white paper."""
    y, x = np.mgrid[0:size, 0:size]
    face = np.full((size, size, 3), 255, dtype=np.uint8)
    face[(y - size / 2) ** 2 + (x - size / 2) ** 2 < (size / 3) ** 2] = (200, 80, 40)
    face[20:24, 16:20] = face[20:24, 28:32] = 255
    return torch.from_numpy(np.repeat(face[None], count, axis=0))


def test_no_strength_changes_nothing() -> None:
    given = faces(3)
    assert torch.equal(Augment(0, strength=0)(given), given.permute(0, 3, 1, 2).float() / 255)


def test_is_the_same_for_a_seed_and_differs_between_pictures() -> None:
    first, second = Augment(7)(faces()), Augment(7)(faces())
    assert torch.equal(first, second)
    assert not torch.equal(first, Augment(8)(faces()))
    assert len({picture.numpy().tobytes() for picture in first}) == len(first)


def test_stays_in_range_and_leaves_its_input() -> None:
    given = faces()
    before = given.clone()
    changed = Augment(1)(given)
    assert changed.shape == (64, 3, 48, 48)
    assert bool(torch.isfinite(changed).all()) and changed.min() >= 0 and changed.max() <= 1
    assert torch.equal(given, before)


def test_cuts_out_the_face_with_its_eyes() -> None:
    x = faces(2).permute(0, 3, 1, 2).float() / 255
    figure = Augment(2)._cut_out(x)
    assert figure.shape == (2, 1, 48, 48)
    assert bool((figure[:, 0, 20:24, 16:20] == 1).all()), "eyes are white, but no paper"
    assert bool((figure[:, 0, :6] == 0).all()) and bool((figure[:, 0, 24, 12:36] == 1).all())


def test_scenes_differ_and_some_stay_white() -> None:
    scenes = Augment(3)._scene(torch.zeros(100, 3, 24, 24))
    white = (scenes == 1).flatten(1).all(dim=1)
    flat = (scenes == scenes[:, :, :1, :1]).flatten(1).all(dim=1)
    assert 20 < int(white.sum()) < 60
    assert 10 < int((flat & ~white).sum()) < 60
    assert 5 < int((~flat).sum()) < 50


def test_a_picture_that_fills_its_frame_stays_whole() -> None:
    x = torch.full((8, 3, 32, 32), 0.4)
    assert torch.allclose(Augment(4)._place(x), x, atol=1e-5)
