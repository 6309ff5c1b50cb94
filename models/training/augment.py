"""Style augmentation: makes one drawing look as if many artists had drawn it.

Everything works on whole batches, float, (N, 3, H, W), 0-1, with separate random choices per image. The order is that of making
a drawing: background, placement on the page, medium and colors, then the losses of copying.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from io import BytesIO

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

_Change = Callable[[Tensor], Tensor]

_WHITE = 0.97
_TO_YIQ = torch.tensor([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
_FROM_YIQ = torch.linalg.inv(_TO_YIQ)


class Augment:
    """Random changes that keep the emotion of a face. `strength` scales placement and colors; 0 changes nothing."""

    def __init__(self, seed: int, strength: float = 1.0) -> None:
        self._random = torch.Generator().manual_seed(seed)
        self._strength = strength

    def __call__(self, pixels: Tensor) -> Tensor:
        """Augment images, uint8, (N, H, W, 3): float, (N, 3, H, W), 0-1."""
        x = pixels.permute(0, 3, 1, 2).float() / 255
        if self._strength == 0:
            return x
        x = self._place(*self._background(x))
        x = self._some(0.10, x, self._line_art)
        x = self._colors(x)
        x = self._some(0.10, x, _grayed)
        x = self._some(0.05, x, lambda part: 1 - part)
        x = self._some(0.08, x, self._posterise)
        x = self._some(0.15, x, self._erase)
        x = self._some(0.15, x, self._blur)
        x = self._some(0.12, x, self._pixelate)
        x = self._some(0.15, x, self._noise)
        x = self._some(0.06, x, self._jpeg)
        return x.clamp_(0, 1)

    def moved(self, pixels: Tensor) -> Tensor:
        """Move images, uint8, (N, H, W, 3), on a white page: float, (N, 3, H, W), 0-1."""
        x = pixels.permute(0, 3, 1, 2).float() / 255
        return self._place(x, torch.ones(len(x), 3, 1, 1))

    def copied(self, pixels: Tensor) -> Tensor:
        """Make bad copies of images, uint8, (N, H, W, 3): smaller and larger again, and JPEG; float, (N, 3, H, W), 0-1."""
        x = pixels.permute(0, 3, 1, 2).float() / 255
        side = int(x.shape[2] * float(self._uniform(0.4, 0.9, 1)))
        small = functional.interpolate(x, size=(side, side), mode="bilinear", antialias=True)
        return self._jpeg(functional.interpolate(small, size=x.shape[2:], mode="bicubic"))

    def _uniform(self, low: float, high: float, *shape: int) -> Tensor:
        return torch.rand(*shape, generator=self._random) * (high - low) + low

    def _some(self, probability: float, x: Tensor, change: _Change) -> Tensor:
        """Change each image with a probability."""
        rows = (self._uniform(0, 1, len(x)) < probability).nonzero().squeeze(1)
        if len(rows):
            x[rows] = change(x[rows])
        return x

    def _background(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Repaint the white background of half the images; return them, and the color of each page, (N, 3, 1, 1).

        A white pixel is background if all pixels between it and an edge are white, so teeth and eyes stay white.
        """
        white = (x.amin(dim=1, keepdim=True) > _WHITE).to(torch.uint8)
        page = torch.zeros_like(white)
        for side in (2, 3):
            page |= white.cumprod(side).to(torch.uint8)
            page |= white.flip(side).cumprod(side).to(torch.uint8).flip(side)
        colors = torch.where(self._uniform(0, 1, len(x), 1, 1, 1) < 0.5, self._uniform(0, 1, len(x), 3, 1, 1), torch.ones(1))
        painted = torch.where(page.bool(), colors, x)
        return painted, painted[:, :, :1, :1]

    def _place(self, x: Tensor, page: Tensor) -> Tensor:
        """Flip, rotate, scale, stretch, slant and shift; new pixels have the color of the page."""
        count, far = len(x), self._strength
        flip = torch.where(self._uniform(0, 1, count) < 0.5, -1.0, 1.0)
        angle = self._uniform(-1, 1, count) ** 3 * far * math.radians(30)
        zoom = torch.exp(self._uniform(-0.45, 0.40, count) * far)
        stretch = torch.exp(self._uniform(-0.15, 0.15, count) * far)
        slant = self._uniform(-0.15, 0.15, count) * far
        shift = self._uniform(-0.22, 0.22, 2, count) * far
        wide, high = zoom * stretch * flip, zoom / stretch
        rows = (
            torch.stack((angle.cos() * wide, (slant - angle.sin()) * high, shift[0]), dim=1),
            torch.stack((angle.sin() * wide, angle.cos() * high, shift[1]), dim=1),
        )
        grid = functional.affine_grid(torch.stack(rows, dim=1), list(x.shape), align_corners=False)
        return functional.grid_sample(x - page, grid, padding_mode="zeros", align_corners=False) + page

    def _colors(self, x: Tensor) -> Tensor:
        """Change hue and saturation (in YIQ), contrast, brightness and gamma."""
        count, far = len(x), self._strength
        turn = self._uniform(-1, 1, count) ** 3 * far * math.pi
        vivid = torch.exp(self._uniform(-0.6, 0.4, count) * far)
        zero, one = torch.zeros(count), torch.ones(count)
        rotate = torch.stack(
            (one, zero, zero, zero, vivid * turn.cos(), -vivid * turn.sin(), zero, vivid * turn.sin(), vivid * turn.cos()), dim=1
        ).view(count, 3, 3)
        mix = _FROM_YIQ @ rotate @ _TO_YIQ
        x = (mix @ x.flatten(2)).view_as(x)
        contrast = torch.exp(self._uniform(-0.4, 0.3, count, 1, 1, 1) * far)
        brightness = self._uniform(-0.12, 0.12, count, 1, 1, 1) * far
        gamma = torch.exp(self._uniform(-0.35, 0.35, count, 1, 1, 1) * far)
        return ((x - 0.5) * contrast + 0.5 + brightness).clamp_(0, 1).pow_(gamma)

    def _line_art(self, x: Tensor) -> Tensor:
        """Draw ink on paper where an image differs from its blurred copy."""
        gray = _grayed(x)
        ink = (gray - functional.avg_pool2d(gray, 5, 1, 2, count_include_pad=False)).abs() * self._uniform(3, 9, len(x), 1, 1, 1)
        paper = self._uniform(0.8, 1, len(x), 1, 1, 1)
        return paper * (1 - ink.clamp(0, 1))

    def _posterise(self, x: Tensor) -> Tensor:
        steps = torch.randint(2, 7, (len(x), 1, 1, 1), generator=self._random).float()
        return (x * steps).round() / steps

    def _erase(self, x: Tensor) -> Tensor:
        """Cover a rectangle of up to a third of each side with one color."""
        height, width = x.shape[2:]
        for image in x:
            tall, broad, top, left = self._uniform(0, 1, 4).tolist()
            tall, broad = 0.08 + 0.25 * tall, 0.08 + 0.25 * broad
            rows = slice(int(top * (1 - tall) * height), int((top * (1 - tall) + tall) * height))
            columns = slice(int(left * (1 - broad) * width), int((left * (1 - broad) + broad) * width))
            image[:, rows, columns] = self._uniform(0, 1, 3, 1, 1)
        return x

    def _blur(self, x: Tensor) -> Tensor:
        """Gaussian, sigma 0.4-1.6 pixels, one a batch."""
        sigma = float(self._uniform(0.4, 1.6, 1))
        line = torch.exp(-0.5 * (torch.arange(-3, 4) / sigma) ** 2)
        line = (line / line.sum()).view(1, 1, 1, 7).expand(3, 1, 1, 7)
        padded = functional.pad(x, (3, 3, 3, 3), mode="replicate")
        return functional.conv2d(functional.conv2d(padded, line, groups=3), line.transpose(2, 3), groups=3)

    def _pixelate(self, x: Tensor) -> Tensor:
        """Down to a third to three quarters of the side and up again, with or without visible squares."""
        side = int(x.shape[2] * float(self._uniform(0.25, 0.75, 1)))
        small = functional.interpolate(x, size=(side, side), mode="bilinear", antialias=True)
        if float(self._uniform(0, 1, 1)) < 0.5:
            return functional.interpolate(small, size=x.shape[2:], mode="nearest")
        return functional.interpolate(small, size=x.shape[2:], mode="bilinear")

    def _noise(self, x: Tensor) -> Tensor:
        return x + torch.randn(x.shape, generator=self._random) * self._uniform(0.01, 0.08, len(x), 1, 1, 1)

    def _jpeg(self, x: Tensor) -> Tensor:
        qualities = torch.randint(15, 70, (len(x),), generator=self._random).tolist()
        return torch.stack([_jpeg_round_trip(image, quality) for image, quality in zip(x, qualities, strict=True)])


def _grayed(x: Tensor) -> Tensor:
    return (x * _TO_YIQ[0].view(1, 3, 1, 1)).sum(dim=1, keepdim=True).expand_as(x)


def _jpeg_round_trip(image: Tensor, quality: int) -> Tensor:
    pixels = (image.clamp(0, 1) * 255).byte().permute(1, 2, 0).numpy()
    data = BytesIO()
    Image.fromarray(pixels).save(data, "JPEG", quality=quality)
    return torch.from_numpy(np.array(Image.open(data))).permute(2, 0, 1).float() / 255
