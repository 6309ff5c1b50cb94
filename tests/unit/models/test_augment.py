from __future__ import annotations

import numpy as np
import torch

from models.training.augment import Augment


def faces(count: int = 64, size: int = 48) -> torch.Tensor:
    """Return images of a dark disc with white eyes on a white background."""
    y, x = np.mgrid[0:size, 0:size]
    face = np.full((size, size, 3), 255, dtype=np.uint8)
    face[(y - size / 2) ** 2 + (x - size / 2) ** 2 < (size / 3) ** 2] = (200, 80, 40)
    face[20:24, 16:20] = face[20:24, 28:32] = 255
    return torch.from_numpy(np.repeat(face[None], count, axis=0))


def test_strength_zero_changes_nothing() -> None:
    images = faces(3)
    assert torch.equal(Augment(0, strength=0)(images), images.permute(0, 3, 1, 2).float() / 255)


def test_augmentation_depends_on_the_seed_and_differs_between_images() -> None:
    first, second = Augment(7)(faces()), Augment(7)(faces())
    assert torch.equal(first, second)
    assert not torch.equal(first, Augment(8)(faces()))
    assert len({image.numpy().tobytes() for image in first}) == len(first)


def test_augmented_pixels_stay_in_range_and_the_input_is_unchanged() -> None:
    images = faces()
    before = images.clone()
    changed = Augment(1)(images)
    assert changed.shape == (64, 3, 48, 48)
    assert bool(torch.isfinite(changed).all()) and changed.min() >= 0 and changed.max() <= 1
    assert torch.equal(images, before)


def test_the_background_is_repainted_but_not_the_eyes() -> None:
    x = faces(32).permute(0, 3, 1, 2).float() / 255
    painted, background = Augment(2)._background(x)
    repainted = (background < 0.9).flatten(1).any(dim=1)
    assert 5 < int(repainted.sum()) < 27
    assert torch.equal(painted[:, :, :2, :2], background.expand(-1, -1, 2, 2))
    assert bool((painted[:, :, 21, 17] == 1).all())


def test_an_image_without_white_edges_keeps_its_background() -> None:
    x = torch.full((8, 3, 32, 32), 0.4)
    painted, background = Augment(3)._background(x)
    assert torch.equal(painted, x) and torch.equal(background, torch.full((8, 3, 1, 1), 0.4))
    placed = Augment(3)._place(painted, background)
    assert torch.allclose(placed, x, atol=1e-5)
