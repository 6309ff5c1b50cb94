"""The training loop: a network, pictures and a recipe in, weights and a history out."""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from indexer.domain.errors import DeviceUnavailable
from indexer.domain.training import Epoch
from models.architectures.network import HEAD, Network
from models.architectures.registry import Architecture, architecture
from models.inference.device import tune_malloc
from models.progress_bar import bar
from models.training.appearance_fit import fit_look
from models.training.augment import Augment
from models.training.dataset import LabeledImages
from models.training.optimizer import build_optimizer, set_learning_rates, train_mode, update_ema
from models.training.recipe import Recipe
from models.training.sampling import batches, steps_per_epoch
from models.training.training_state import TrainingState, load_state, save_state

_log = logging.getLogger(__name__)

_KEEP_EVERY = 60.0
"""Seconds between writes of the state within an epoch."""

_MEASURED_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class Fitted:
    """What a training ends with: the weights, on the CPU, by name, and its history."""

    state: dict[str, Tensor]
    history: tuple[Epoch, ...]


def _pass_on(_epoch: Epoch) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True)
class Hooks:
    """What happens beside the training.

    `kept` is where its state is kept on the way, and the fingerprint it must have: what is there is gone on from. `check_stop`
    may raise between batches; the state is kept before.
    """

    kept: tuple[Path, str] | None = None
    after_epoch: Callable[[Epoch], None] = _pass_on
    check_stop: Callable[[], None] = lambda: None


def fit(
    network: Network,
    pictures: LabeledImages,
    validation: LabeledImages | None,
    recipe: Recipe,
    device: torch.device,
    hooks: Hooks | None = None,
) -> Fitted:
    """Train a network. The same seed, data and machine give the same weights, however often it was interrupted.

    Progress shows on stderr when that is a terminal. Changes `network`. Raises DeviceUnavailable where not even one picture
    fits the device.
    """
    return _Loop(network, pictures, validation, recipe, device, hooks or Hooks()).run()


class _Loop:
    def __init__(
        self,
        network: Network,
        pictures: LabeledImages,
        validation: LabeledImages | None,
        recipe: Recipe,
        device: torch.device,
        hooks: Hooks,
    ) -> None:
        tune_malloc()
        self._pictures, self._validation, self._recipe, self._device, self._hooks = pictures, validation, recipe, device, hooks
        self._kind = architecture(recipe.architecture)
        network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        average = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
        self._training = TrainingState(network, build_optimizer(network, recipe), average)
        self._steps = steps_per_epoch(pictures, recipe)
        self._precision = _precision(recipe.precision, device)
        self._scaler = torch.amp.GradScaler(device.type, enabled=self._precision is torch.float16)
        self._at_once = recipe.batch_size
        self._kept_at = time.monotonic()

    def run(self) -> Fitted:
        training, recipe = self._training, self._recipe
        if self._hooks.kept and self._hooks.kept[0].exists():
            load_state(training, self._hooks.kept[0])
            self._scaler.load_state_dict(training.scale)
        with bar(total=recipe.epochs * self._steps, desc="training", unit="batch") as progress:
            progress.update(len(training.history) * self._steps + training.step)
            while len(training.history) < recipe.epochs and not self._stale():
                self._epoch(progress)
        network = training.network
        network.load_state_dict(training.best if recipe.patience and training.best else training.average)
        fit_look(network.eval(), self._pictures, self._kind, self._device, recipe.seed)
        state = {name: tensor.detach().cpu().clone() for name, tensor in network.state_dict().items()}
        return Fitted(state, tuple(training.history))

    def _epoch(self, progress: tqdm[None]) -> None:
        training, number = self._training, len(self._training.history)
        rows = batches(self._pictures, self._recipe, number)
        train_mode(training.network)
        started = time.monotonic()
        while training.step < self._steps:
            self._step(rows[training.step], number * self._steps + training.step)
            training.step += 1
            progress.update()
            if training.step % 10 == 0:
                progress.set_postfix(
                    epoch=number + 1,
                    loss=f"{training.losses / training.seen:.3f}",
                    accuracy=f"{training.hits / training.seen:.3f}",
                )
            if self._hooks.kept and time.monotonic() - self._kept_at > _KEEP_EVERY:
                training.seconds, started = training.seconds + time.monotonic() - started, time.monotonic()
                self._keep()
            self._check_stop_safely()
        training.seconds += time.monotonic() - started
        self._close_epoch(number)

    def _check_stop_safely(self) -> None:
        try:
            self._hooks.check_stop()
        except BaseException:
            self._keep()
            raise

    def _step(self, rows: np.ndarray[tuple[int], np.dtype[np.int64]], step: int) -> None:
        training, recipe = self._training, self._recipe
        seed = int(np.random.SeedSequence((recipe.seed, step)).generate_state(1)[0])
        torch.manual_seed(seed)  # dropout, and whatever else a layer draws
        x = Augment(seed, recipe.strength)(torch.from_numpy(self._pictures.pixels[rows]))
        truth = torch.from_numpy(self._pictures.labels[rows])
        other, share = torch.arange(len(rows)), 1.0
        if recipe.mixup:
            # Zhang et al., "mixup: Beyond Empirical Risk Minimization", arXiv:1710.09412.
            random = np.random.default_rng(seed)
            share = float(random.beta(recipe.mixup, recipe.mixup))
            other = torch.from_numpy(random.permutation(len(rows)))
            x = share * x + (1 - share) * x[other]
        set_learning_rates(training.optimiser, step, self._steps * recipe.epochs, recipe)
        loss, hits = self._backward(self._normalised(x), truth.to(self._device), truth[other].to(self._device), share)
        self._scaler.step(training.optimiser)
        self._scaler.update()
        update_ema(training.average, training.network.state_dict(), step, self._steps * recipe.epochs, recipe)
        training.losses, training.hits, training.seen = training.losses + loss, training.hits + hits, training.seen + len(rows)

    def _backward(self, x: Tensor, truth: Tensor, other: Tensor, share: float) -> tuple[float, int]:
        """Gradients of the mean loss over a batch, as many pictures at once as fit; returns the summed loss and the hits."""
        while True:
            try:
                self._training.optimiser.zero_grad()
                return self._gradients(x, truth, other, share)
            except torch.OutOfMemoryError:
                if self._at_once == 1:
                    raise DeviceUnavailable(
                        f"The device {self._device} has too little free memory for even one picture."
                    ) from None
                self._at_once = -(-self._at_once // 2)
                if self._device.type == "cuda":
                    torch.cuda.empty_cache()
                _log.warning("Out of memory on %s: going on with %d pictures at a time.", self._device, self._at_once)

    def _gradients(self, x: Tensor, truth: Tensor, other: Tensor, share: float) -> tuple[float, int]:
        smoothing, loss_sum, hits = self._recipe.label_smoothing, 0.0, 0
        for start in range(0, len(x), self._at_once):
            part = slice(start, start + self._at_once)
            with torch.autocast(self._device.type, self._precision, enabled=self._precision is not torch.float32):
                logits, _ = self._training.network(x[part])
            logits = logits.float()
            loss = share * functional.cross_entropy(logits, truth[part], label_smoothing=smoothing, reduction="sum")
            if share < 1:
                mixed = functional.cross_entropy(logits, other[part], label_smoothing=smoothing, reduction="sum")
                loss = loss + (1 - share) * mixed
            loss_sum += float(loss.detach())
            hits += int((logits.argmax(dim=1) == truth[part]).sum())
            loss = loss / len(x)
            if self._recipe.l2:
                loss = loss + self._recipe.l2 * self._penalty() * len(x[part]) / len(x)
            self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        return loss_sum, hits

    def _penalty(self) -> Tensor:
        """The squares of the head's matrices, as the study's kernel regulariser sums them."""
        return torch.stack(
            [p.square().sum() for n, p in self._training.network.from_input() if n.startswith(HEAD) and p.ndim > 1]
        ).sum()

    def _close_epoch(self, number: int) -> None:
        training = self._training
        measured: tuple[float | None, float | None, float | None] = (None, None, None)
        if self._validation is not None and len(self._validation):
            measured = self._measure(self._validation)
        training.history.append(
            Epoch(number + 1, training.losses / training.seen, training.hits / training.seen, *measured, training.seconds)
        )
        if self._recipe.patience and training.best_epoch == number:
            training.best = {name: tensor.detach().cpu().clone() for name, tensor in training.average.items()}
        training.step, training.losses, training.hits, training.seen, training.seconds = 0, 0.0, 0, 0, 0.0
        self._keep()
        self._hooks.after_epoch(training.history[-1])

    def _measure(self, pictures: LabeledImages) -> tuple[float, float, float]:
        """Loss, accuracy and balanced accuracy of the averaged weights."""
        network = copy.deepcopy(self._training.network)
        network.load_state_dict(self._training.average)
        logits = predict(network.eval(), self._kind, pictures, self._device)
        truth = torch.from_numpy(pictures.labels)
        right = (logits.argmax(dim=1) == truth).float()
        recalls = [float(right[truth == label].mean()) for label in np.unique(pictures.labels)]
        return float(functional.cross_entropy(logits, truth)), float(right.mean()), float(np.mean(recalls))

    def _stale(self) -> bool:
        """Whether patience has run out."""
        best = self._training.best_epoch
        return (
            bool(self._recipe.patience) and best is not None and len(self._training.history) - 1 - best >= self._recipe.patience
        )

    def _normalised(self, x: Tensor) -> Tensor:
        x = x.mul(255).sub_(self._kind.mean).div_(self._kind.std)
        return x.to(device=self._device, memory_format=torch.channels_last)

    def _keep(self) -> None:
        if self._hooks.kept:
            self._training.scale = self._scaler.state_dict()
            save_state(self._training, *self._hooks.kept)
            self._kept_at = time.monotonic()


@torch.inference_mode()
def predict(network: Network, kind: Architecture, pictures: LabeledImages, device: torch.device) -> Tensor:
    """Logits, float32, (N, labels), on the CPU, of a network in evaluation mode."""
    out = []
    for start in range(0, len(pictures), _MEASURED_AT_ONCE):
        x = torch.from_numpy(pictures.pixels[start : start + _MEASURED_AT_ONCE]).permute(0, 3, 1, 2).float()
        x = x.sub_(kind.mean).div_(kind.std).to(device=device, memory_format=torch.channels_last)
        out.append(network(x)[0].float().cpu())
    return torch.cat(out)


def _precision(wanted: str, device: torch.device) -> torch.dtype:
    if wanted == "auto":
        if device.type != "cuda":
            return torch.float32
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[wanted]
