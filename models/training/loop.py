"""The training loop: trains a network on images by a recipe."""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from indexer.domain.errors import DeviceUnavailable
from indexer.domain.training import Epoch
from models.architectures.network import HEAD, Network
from models.architectures.registry import Architecture, architecture
from models.inference.device import tune_malloc
from models.progress_bar import bar
from models.training.appearance_fit import fit_appearance
from models.training.augment import Augment
from models.training.optimizer import build_optimizer, set_learning_rates, train_mode, update_ema
from models.training.sampling import batches, steps_per_epoch
from models.training.training_state import TrainingState, load_state, save_state

if TYPE_CHECKING:
    from tqdm import tqdm

    from models.training.dataset import LabeledImages
    from models.training.recipe import Recipe

_log = logging.getLogger(__name__)

_SAVE_EVERY_SECONDS = 60.0
"""Between saves of the state within an epoch."""

_MEASURE_BATCH_SIZE = 64


@dataclass(frozen=True, slots=True)
class Fitted:
    """The result of a training: weights on the CPU, by name, and the history."""

    state: dict[str, Tensor]
    history: tuple[Epoch, ...]


def _ignore(_epoch: Epoch) -> None:
    """Do nothing."""


@dataclass(frozen=True, slots=True)
class Hooks:
    """Callbacks of a training, and the file of its state.

    - `saved`: path of the state, and its fingerprint; a training resumes from an existing state.
    - `check_stop`: called between batches; may raise, after the state was saved.
    """

    saved: tuple[Path, str] | None = None
    after_epoch: Callable[[Epoch], None] = _ignore
    check_stop: Callable[[], None] = lambda: None


def fit(
    network: Network,
    images: LabeledImages,
    validation: LabeledImages | None,
    recipe: Recipe,
    device: torch.device,
    hooks: Hooks | None = None,
) -> Fitted:
    """Train a network, in place. The same seed, data and machine give the same weights, also after interruptions.

    Shows a progress bar on stderr if that is a terminal. Raises DeviceUnavailable if the device has too little memory for one
    image.
    """
    return _Loop(network, images, validation, recipe, device, hooks or Hooks()).run()


class _Loop:
    def __init__(
        self,
        network: Network,
        images: LabeledImages,
        validation: LabeledImages | None,
        recipe: Recipe,
        device: torch.device,
        hooks: Hooks,
    ) -> None:
        tune_malloc()
        self._images, self._validation, self._recipe, self._device, self._hooks = images, validation, recipe, device, hooks
        self._kind = architecture(recipe.architecture)
        network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        average = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
        self._training = TrainingState(network, build_optimizer(network, recipe), average)
        self._steps = steps_per_epoch(images, recipe)
        self._precision = _precision(recipe.precision, device)
        self._scaler = torch.amp.GradScaler(device.type, enabled=self._precision is torch.float16)
        self._micro_batch = recipe.batch_size
        self._saved_at = time.monotonic()

    def run(self) -> Fitted:
        training, recipe = self._training, self._recipe
        if self._hooks.saved and self._hooks.saved[0].exists():
            load_state(training, self._hooks.saved[0])
            self._scaler.load_state_dict(training.scale)
        with bar(total=recipe.epochs * self._steps, desc="training", unit="batch") as progress:
            progress.update(len(training.history) * self._steps + training.step)
            while len(training.history) < recipe.epochs and not self._out_of_patience():
                self._epoch(progress)
        network = training.network
        network.load_state_dict(training.best if recipe.patience and training.best else training.average)
        fit_appearance(network.eval(), self._images, self._kind, self._device, recipe.seed)
        state = {name: tensor.detach().cpu().clone() for name, tensor in network.state_dict().items()}
        return Fitted(state, tuple(training.history))

    def _epoch(self, progress: tqdm[None]) -> None:
        training, number = self._training, len(self._training.history)
        rows = batches(self._images, self._recipe, number)
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
            if self._hooks.saved and time.monotonic() - self._saved_at > _SAVE_EVERY_SECONDS:
                training.seconds, started = training.seconds + time.monotonic() - started, time.monotonic()
                self._save()
            self._check_stop_safely()
        training.seconds += time.monotonic() - started
        self._close_epoch(number)

    def _check_stop_safely(self) -> None:
        try:
            self._hooks.check_stop()
        except BaseException:
            self._save()
            raise

    def _step(self, rows: np.ndarray[tuple[int], np.dtype[np.int64]], step: int) -> None:
        training, recipe = self._training, self._recipe
        seed = int(np.random.SeedSequence((recipe.seed, step)).generate_state(1)[0])
        torch.manual_seed(seed)  # for dropout and other random layers
        x = Augment(seed, recipe.strength)(torch.from_numpy(self._images.pixels[rows]))
        truth = torch.from_numpy(self._images.labels[rows])
        other, share = torch.arange(len(rows)), 1.0
        if recipe.mixup:
            # Zhang et al., "mixup: Beyond Empirical Risk Minimization", arXiv:1710.09412.
            random = np.random.default_rng(seed)
            share = float(random.beta(recipe.mixup, recipe.mixup))
            other = torch.from_numpy(random.permutation(len(rows)))
            x = share * x + (1 - share) * x[other]
        set_learning_rates(training.optimizer, step, self._steps * recipe.epochs, recipe)
        loss, hits = self._backward(self._normalized(x), truth.to(self._device), truth[other].to(self._device), share)
        self._scaler.step(training.optimizer)
        self._scaler.update()
        update_ema(training.average, training.network.state_dict(), step, self._steps * recipe.epochs, recipe)
        training.losses, training.hits, training.seen = training.losses + loss, training.hits + hits, training.seen + len(rows)

    def _backward(self, x: Tensor, truth: Tensor, other: Tensor, share: float) -> tuple[float, int]:
        """Compute the gradients of the mean loss over a batch, in parts that fit the memory; return summed loss and hits."""
        while True:
            try:
                self._training.optimizer.zero_grad()
                return self._gradients(x, truth, other, share)
            except torch.OutOfMemoryError:
                if self._micro_batch == 1:
                    raise DeviceUnavailable(f"The device {self._device} has too little free memory for one image.") from None
                self._micro_batch = -(-self._micro_batch // 2)
                if self._device.type == "cuda":
                    torch.cuda.empty_cache()
                _log.warning("Out of memory on %s: continuing with %d images at a time.", self._device, self._micro_batch)

    def _gradients(self, x: Tensor, truth: Tensor, other: Tensor, share: float) -> tuple[float, int]:
        smoothing, loss_sum, hits = self._recipe.label_smoothing, 0.0, 0
        for start in range(0, len(x), self._micro_batch):
            part = slice(start, start + self._micro_batch)
            with torch.autocast(self._device.type, self._precision, enabled=self._precision is not torch.float32):
                logits = self._training.network(x[part]).logits
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
        """Return the sum of squares of the matrices of the head, as the kernel regularizer of the study does."""
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
        self._save()
        self._hooks.after_epoch(training.history[-1])

    def _measure(self, images: LabeledImages) -> tuple[float, float, float]:
        """Return loss, accuracy and balanced accuracy of the averaged weights."""
        network = copy.deepcopy(self._training.network)
        network.load_state_dict(self._training.average)
        logits = predict(network.eval(), self._kind, images, self._device)
        truth = torch.from_numpy(images.labels)
        right = (logits.argmax(dim=1) == truth).float()
        recalls = [float(right[truth == label].mean()) for label in np.unique(images.labels)]
        return float(functional.cross_entropy(logits, truth)), float(right.mean()), float(np.mean(recalls))

    def _out_of_patience(self) -> bool:
        """Return whether patience has run out."""
        best = self._training.best_epoch
        return (
            bool(self._recipe.patience) and best is not None and len(self._training.history) - 1 - best >= self._recipe.patience
        )

    def _normalized(self, x: Tensor) -> Tensor:
        x = x.mul(255).sub_(self._kind.mean).div_(self._kind.std)
        return x.to(device=self._device, memory_format=torch.channels_last)

    def _save(self) -> None:
        if self._hooks.saved:
            self._training.scale = self._scaler.state_dict()
            save_state(self._training, *self._hooks.saved)
            self._saved_at = time.monotonic()


@torch.inference_mode()
def predict(network: Network, kind: Architecture, images: LabeledImages, device: torch.device) -> Tensor:
    """Return logits, float32, (N, labels), on the CPU, of a network in evaluation mode."""
    out = []
    for start in range(0, len(images), _MEASURE_BATCH_SIZE):
        x = torch.from_numpy(images.pixels[start : start + _MEASURE_BATCH_SIZE]).permute(0, 3, 1, 2).float()
        x = x.sub_(kind.mean).div_(kind.std).to(device=device, memory_format=torch.channels_last)
        out.append(network(x).logits.float().cpu())
    return torch.cat(out)


def _precision(wanted: str, device: torch.device) -> torch.dtype:
    if wanted == "auto":
        if device.type != "cuda":
            return torch.float32
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[wanted]
