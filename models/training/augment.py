"""Style augmentation: random changes that make one drawing look as if different artists had drawn it.

All functions take whole batches, float, (N, 3, H, W), 0-1, and make separate random choices for each image unless they document
otherwise. The order of the changes is that of making a drawing: background, placement on the page, medium and colors, then the
losses of copying.
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

_MIN_WHITE = 0.97
"""Least value of all channels, 0-1, of a white pixel."""

_TO_YIQ = torch.tensor([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
_FROM_YIQ = torch.linalg.inv(_TO_YIQ)
"""Conversion between RGB and YIQ (NTSC), whose first component is the brightness."""


class Augment:
    """Random changes that do not change the emotion of a face."""

    def __init__(self, seed: int, strength: float = 1.0) -> None:
        """`strength` is the factor of the ranges of placement and colors; 0 switches all changes off."""
        self._random = torch.Generator().manual_seed(seed)
        self._strength = strength

    def __call__(self, pixels: Tensor) -> Tensor:
        """Augment images, uint8, (N, S, S, 3), and return them as float, (N, 3, S, S), 0-1."""
        x = pixels.permute(0, 3, 1, 2).float() / 255
        if self._strength == 0:
            return x
        x = self._place(*self._background(x))
        x = self._apply(0.10, x, self._line_art)
        x = self._colors(x)
        x = self._apply(0.10, x, _grayed)
        x = self._apply(0.05, x, lambda part: 1 - part)
        x = self._apply(0.08, x, self._posterize)
        x = self._apply(0.15, x, self._erase)
        x = self._apply(0.15, x, self._blur)
        x = self._apply(0.12, x, self._pixelate)
        x = self._apply(0.15, x, self._noise)
        x = self._apply(0.06, x, self._jpeg)
        return x.clamp_(0, 1)

    def moved(self, pixels: Tensor) -> Tensor:
        """Change only the placement of images on a white page; types and shapes are those of a call."""
        x = pixels.permute(0, 3, 1, 2).float() / 255
        return self._place(x, torch.ones(len(x), 3, 1, 1))

    def copied(self, pixels: Tensor) -> Tensor:
        """Make bad copies of images; types and shapes are those of a call.

        Scales the images to 0.4-0.9 of their size, one factor per batch, and back, and compresses them as JPEG.
        """
        x = pixels.permute(0, 3, 1, 2).float() / 255
        side = int(x.shape[2] * float(self._uniform(0.4, 0.9, 1)))
        small = functional.interpolate(x, size=(side, side), mode="bilinear", antialias=True)
        return self._jpeg(functional.interpolate(small, size=x.shape[2:], mode="bicubic"))

    def _uniform(self, low: float, high: float, *shape: int) -> Tensor:
        return torch.rand(*shape, generator=self._random) * (high - low) + low

    def _apply(self, probability: float, x: Tensor, change: _Change) -> Tensor:
        """Apply a change to each image with a probability, 0-1, in place."""
        rows = (self._uniform(0, 1, len(x)) < probability).nonzero().squeeze(1)
        if len(rows):
            x[rows] = change(x[rows])
        return x

    def _background(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Repaint the white background of half of the images.

        Returns the images, and the color of each background, (N, 3, 1, 1).

        A white pixel is background if all pixels between it and one edge are white, so teeth and eyes stay white.
        """
        white = (x.amin(dim=1, keepdim=True) > _MIN_WHITE).to(torch.uint8)
        page = torch.zeros_like(white)
        for side in (2, 3):
            page |= white.cumprod(side).to(torch.uint8)
            page |= white.flip(side).cumprod(side).to(torch.uint8).flip(side)
        colors = torch.where(self._uniform(0, 1, len(x), 1, 1, 1) < 0.5, self._uniform(0, 1, len(x), 3, 1, 1), torch.ones(1))
        painted = torch.where(page.bool(), colors, x)
        return painted, painted[:, :, :1, :1]

    def _place(self, x: Tensor, page: Tensor) -> Tensor:
        """Flip, rotate, scale, stretch, slant and shift images on pages of a color, (N, 3, 1, 1)."""
        count, strength = len(x), self._strength
        flip = torch.where(self._uniform(0, 1, count) < 0.5, -1.0, 1.0)
        angle = self._uniform(-1, 1, count) ** 3 * strength * math.radians(30)
        zoom = torch.exp(self._uniform(-0.45, 0.40, count) * strength)
        stretch = torch.exp(self._uniform(-0.15, 0.15, count) * strength)
        slant = self._uniform(-0.15, 0.15, count) * strength
        shift = self._uniform(-0.22, 0.22, 2, count) * strength
        x_scale, y_scale = zoom * stretch * flip, zoom / stretch
        rows = (
            torch.stack((angle.cos() * x_scale, (slant - angle.sin()) * y_scale, shift[0]), dim=1),
            torch.stack((angle.sin() * x_scale, angle.cos() * y_scale, shift[1]), dim=1),
        )
        grid = functional.affine_grid(torch.stack(rows, dim=1), list(x.shape), align_corners=False)
        return functional.grid_sample(x - page, grid, padding_mode="zeros", align_corners=False) + page

    def _colors(self, x: Tensor) -> Tensor:
        """Change hue and saturation (in YIQ), contrast, brightness and gamma."""
        count, strength = len(x), self._strength
        rotation = self._uniform(-1, 1, count) ** 3 * strength * math.pi
        saturation = torch.exp(self._uniform(-0.6, 0.4, count) * strength)
        zero, one = torch.zeros(count), torch.ones(count)
        cosine, sine = saturation * rotation.cos(), saturation * rotation.sin()
        in_yiq = torch.stack((one, zero, zero, zero, cosine, -sine, zero, sine, cosine), dim=1).view(count, 3, 3)
        in_rgb = _FROM_YIQ @ in_yiq @ _TO_YIQ
        x = (in_rgb @ x.flatten(2)).view_as(x)
        contrast = torch.exp(self._uniform(-0.4, 0.3, count, 1, 1, 1) * strength)
        brightness = self._uniform(-0.12, 0.12, count, 1, 1, 1) * strength
        gamma = torch.exp(self._uniform(-0.35, 0.35, count, 1, 1, 1) * strength)
        return ((x - 0.5) * contrast + 0.5 + brightness).clamp_(0, 1).pow_(gamma)

    def _line_art(self, x: Tensor) -> Tensor:
        """Draw lines of ink on paper where the brightness differs from that of a blurred copy."""
        gray = _grayed(x)
        ink = (gray - functional.avg_pool2d(gray, 5, 1, 2, count_include_pad=False)).abs() * self._uniform(3, 9, len(x), 1, 1, 1)
        paper = self._uniform(0.8, 1, len(x), 1, 1, 1)
        return paper * (1 - ink.clamp(0, 1))

    def _posterize(self, x: Tensor) -> Tensor:
        """Round each channel to 3-7 values."""
        steps = torch.randint(2, 7, (len(x), 1, 1, 1), generator=self._random).float()
        return (x * steps).round() / steps

    def _erase(self, x: Tensor) -> Tensor:
        """Cover a rectangle of up to a third of each side with one random color."""
        height, width = x.shape[2:]
        for image in x:
            high, wide, top, left = self._uniform(0, 1, 4).tolist()
            high, wide = 0.08 + 0.25 * high, 0.08 + 0.25 * wide  # shares of the height and the width
            rows = slice(int(top * (1 - high) * height), int((top * (1 - high) + high) * height))
            columns = slice(int(left * (1 - wide) * width), int((left * (1 - wide) + wide) * width))
            image[:, rows, columns] = self._uniform(0, 1, 3, 1, 1)
        return x

    def _blur(self, x: Tensor) -> Tensor:
        """Blur with a Gaussian of a standard deviation of 0.4-1.6 pixels, the same for all images."""
        sigma = float(self._uniform(0.4, 1.6, 1))
        line = torch.exp(-0.5 * (torch.arange(-3, 4) / sigma) ** 2)
        line = (line / line.sum()).view(1, 1, 1, 7).expand(3, 1, 1, 7)
        padded = functional.pad(x, (3, 3, 3, 3), mode="replicate")
        return functional.conv2d(functional.conv2d(padded, line, groups=3), line.transpose(2, 3), groups=3)

    def _pixelate(self, x: Tensor) -> Tensor:
        """Scale to 0.25-0.75 of the size and back, with or without visible squares, the same for all images."""
        side = int(x.shape[2] * float(self._uniform(0.25, 0.75, 1)))
        small = functional.interpolate(x, size=(side, side), mode="bilinear", antialias=True)
        if float(self._uniform(0, 1, 1)) < 0.5:
            return functional.interpolate(small, size=x.shape[2:], mode="nearest")
        return functional.interpolate(small, size=x.shape[2:], mode="bilinear")

    def _noise(self, x: Tensor) -> Tensor:
        """Add Gaussian noise with a standard deviation of 0.01-0.08."""
        return x + torch.randn(x.shape, generator=self._random) * self._uniform(0.01, 0.08, len(x), 1, 1, 1)

    def _jpeg(self, x: Tensor) -> Tensor:
        """Compress as JPEG with a quality of 15-69."""
        qualities = torch.randint(15, 70, (len(x),), generator=self._random).tolist()
        return torch.stack([_jpeg_round_trip(image, quality) for image, quality in zip(x, qualities, strict=True)])


def _grayed(x: Tensor) -> Tensor:
    """Return images whose channels are all their brightness."""
    return (x * _TO_YIQ[0].view(1, 3, 1, 1)).sum(dim=1, keepdim=True).expand_as(x)


def _jpeg_round_trip(image: Tensor, quality: int) -> Tensor:
    pixels = (image.clamp(0, 1) * 255).byte().permute(1, 2, 0).numpy()
    data = BytesIO()
    Image.fromarray(pixels).save(data, "JPEG", quality=quality)
    return torch.from_numpy(np.array(Image.open(data))).permute(2, 0, 1).float() / 255
