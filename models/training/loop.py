"""The training loop, which trains a network on images by a recipe."""

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
from models.training.distillation import Teachers, distance
from models.training.optimizer import build_optimizer, set_learning_rates, train_mode, update_ema
from models.training.sampling import batches, steps_per_epoch
from models.training.training_state import TrainingState, load_state, save_state

if TYPE_CHECKING:
    from tqdm import tqdm

    from models.training.dataset import LabeledImages
    from models.training.recipe import Recipe

_log = logging.getLogger(__name__)

_SAVE_EVERY_SECONDS = 60.0
"""Least time between saves of the state within an epoch."""

_REPORT_EVERY_STEPS = 10
"""Steps between updates of loss and accuracy on the progress bar."""

_MEASURE_BATCH_SIZE = 64


@dataclass(frozen=True, slots=True)
class Fitted:
    """The result of a training: `state`, the weights by name on the CPU, and `history`, the epochs."""

    state: dict[str, Tensor]
    history: tuple[Epoch, ...]


def _ignore(_epoch: Epoch) -> None:
    """Do nothing."""


@dataclass(frozen=True, slots=True)
class Hooks:
    """Callbacks of a training, and the file of its state.

    - `saved`: path of the file, and the fingerprint of the training. If the file exists, the training resumes from it. None
      saves no state.
    - `after_epoch`: called with each finished epoch.
    - `check_stop`: called between batches; may raise. The state is saved then.
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
    teachers: Teachers | None = None,
) -> Fitted:
    """Train a network, in place.

    - `images`: the training part. `validation`: the images that are measured after each epoch; None measures nothing.
    - `recipe`: the parameters. Its `architecture` must be that of the network.
    - `device`: where the network is trained.
    - `teachers`: networks on the same device whose outputs the network learns, too.

    The same seed, data and machine give the same weights, also after interruptions. Shows a progress bar on stderr if that is a
    terminal. Raises DeviceUnavailable if the device has too little memory for one image, and what `hooks.check_stop` raises.
    """
    return _TrainingLoop(network, images, validation, recipe, device, hooks or Hooks(), teachers).run()


class _TrainingLoop:
    def __init__(
        self,
        network: Network,
        images: LabeledImages,
        validation: LabeledImages | None,
        recipe: Recipe,
        device: torch.device,
        hooks: Hooks,
        teachers: Teachers | None,
    ) -> None:
        tune_malloc()
        self._images, self._validation, self._recipe, self._device, self._hooks = images, validation, recipe, device, hooks
        self._kind = architecture(recipe.architecture)
        self._teachers = teachers
        network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        average = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
        self._training = TrainingState(network, build_optimizer(network, recipe), average)
        self._initial = {name: tensor.clone() for name, tensor in average.items()} if recipe.keep else {}
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
        network.load_state_dict(self._with_initial(training.best if recipe.patience and training.best else training.average))
        fit_appearance(network.eval(), self._images, self._kind, self._device, recipe.seed)
        state = {name: tensor.detach().cpu().clone() for name, tensor in network.state_dict().items()}
        return Fitted(state, tuple(training.history))

    def _with_initial(self, trained: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the mean of the trained weights and the initial ones, which have the share `keep`. Counters stay as trained."""
        keep = self._recipe.keep
        return {
            name: torch.lerp(tensor, self._initial[name].to(tensor.device), keep)
            if keep and tensor.is_floating_point()
            else tensor
            for name, tensor in trained.items()
        }

    def _epoch(self, progress: tqdm[None]) -> None:
        training, number = self._training, len(self._training.history)
        rows = batches(self._images, self._recipe, number)
        train_mode(training.network)
        started = time.monotonic()
        while training.step < self._steps:
            self._step(rows[training.step], number * self._steps + training.step)
            training.step += 1
            progress.update()
            if training.step % _REPORT_EVERY_STEPS == 0:
                progress.set_postfix(
                    epoch=number + 1,
                    loss=f"{training.losses / training.seen:.3f}",
                    accuracy=f"{training.correct / training.seen:.3f}",
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
        """Train on the images in `rows`; `step` is the number of the batch in the training, from 0."""
        training, recipe = self._training, self._recipe
        seed = int(np.random.SeedSequence((recipe.seed, step)).generate_state(1)[0])
        torch.manual_seed(seed)  # for dropout and other random layers
        x = Augment(seed, recipe.strength)(torch.from_numpy(self._images.pixels[rows]))
        truth = torch.from_numpy(self._images.labels[rows])
        partner, share = torch.arange(len(rows)), 1.0
        if recipe.mixup:
            # Zhang et al., "mixup: Beyond Empirical Risk Minimization", arXiv:1710.09412.
            random = np.random.default_rng(seed)
            share = float(random.beta(recipe.mixup, recipe.mixup))
            partner = torch.from_numpy(random.permutation(len(rows)))
            x = share * x + (1 - share) * x[partner]
        set_learning_rates(training.optimizer, step, self._steps * recipe.epochs, recipe)
        loss, correct = self._backward(self._normalized(x), truth.to(self._device), truth[partner].to(self._device), share)
        self._scaler.step(training.optimizer)
        self._scaler.update()
        update_ema(training.average, training.network.state_dict(), step, self._steps * recipe.epochs, recipe)
        training.losses, training.correct, training.seen = (
            training.losses + loss,
            training.correct + correct,
            training.seen + len(rows),
        )

    def _backward(self, x: Tensor, truth: Tensor, partner_truth: Tensor, share: float) -> tuple[float, int]:
        """Compute the gradients of the mean loss over a batch, in parts that fit the memory.

        Each image has the label `truth` with the weight `share` and the label `partner_truth` with the rest. Returns the sum of
        the losses, and the number of images that were classified as `truth`.
        """
        while True:
            try:
                self._training.optimizer.zero_grad()
                return self._gradients(x, truth, partner_truth, share)
            except torch.OutOfMemoryError:
                if self._micro_batch == 1:
                    raise DeviceUnavailable(f"The device {self._device} has too little free memory for one image.") from None
                self._micro_batch = -(-self._micro_batch // 2)
                if self._device.type == "cuda":
                    torch.cuda.empty_cache()
                _log.warning("Out of memory on %s: continuing with %d images at a time.", self._device, self._micro_batch)

    def _gradients(self, x: Tensor, truth: Tensor, partner_truth: Tensor, share: float) -> tuple[float, int]:
        """Do the work of `_backward`. Raises torch.OutOfMemoryError if a part does not fit the memory."""
        smoothing, loss_sum, correct = self._recipe.label_smoothing, 0.0, 0
        for start in range(0, len(x), self._micro_batch):
            part = slice(start, start + self._micro_batch)
            with torch.autocast(self._device.type, self._precision, enabled=self._precision is not torch.float32):
                logits = self._training.network(x[part]).logits
            logits = logits.float()
            loss = share * functional.cross_entropy(logits, truth[part], label_smoothing=smoothing, reduction="sum")
            if share < 1:
                partner_loss = functional.cross_entropy(logits, partner_truth[part], label_smoothing=smoothing, reduction="sum")
                loss = loss + (1 - share) * partner_loss
            if self._teachers:
                taught = self._recipe.teacher_share
                loss = (1 - taught) * loss + taught * distance(logits, self._teachers.probabilities(x[part]))
            loss_sum += float(loss.detach())
            correct += int((logits.argmax(dim=1) == truth[part]).sum())
            loss = loss / len(x)
            if self._recipe.l2:
                loss = loss + self._recipe.l2 * self._penalty() * len(x[part]) / len(x)
            self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        return loss_sum, correct

    def _penalty(self) -> Tensor:
        """Return the sum of the squares of the matrices of the head, as the kernel regularizer of the study did."""
        named_parameters = self._training.network.from_input()
        matrices = [parameter for name, parameter in named_parameters if name.startswith(HEAD) and parameter.ndim > 1]
        return torch.stack([matrix.square().sum() for matrix in matrices]).sum()

    def _close_epoch(self, number: int) -> None:
        """Measure, record, save and report the epoch with a number, from 0."""
        training = self._training
        validation: tuple[float | None, float | None, float | None] = (None, None, None)
        if self._validation is not None and len(self._validation):
            validation = self._measure(self._validation)
        training.history.append(
            Epoch(number + 1, training.losses / training.seen, training.correct / training.seen, *validation, training.seconds)
        )
        if self._recipe.patience and training.best_epoch == number:
            training.best = {name: tensor.detach().cpu().clone() for name, tensor in training.average.items()}
        training.step, training.losses, training.correct, training.seen, training.seconds = 0, 0.0, 0, 0, 0.0
        self._save()
        self._hooks.after_epoch(training.history[-1])

    def _measure(self, images: LabeledImages) -> tuple[float, float, float]:
        """Return the loss, in nats, the accuracy and the balanced accuracy, 0-1, of the averaged weights."""
        network = copy.deepcopy(self._training.network)
        network.load_state_dict(self._training.average)
        logits = predict(network.eval(), self._kind, images, self._device)
        truth = torch.from_numpy(images.labels)
        right = (logits.argmax(dim=1) == truth).float()
        recalls = [float(right[truth == label].mean()) for label in np.unique(images.labels)]
        return float(functional.cross_entropy(logits, truth)), float(right.mean()), float(np.mean(recalls))

    def _out_of_patience(self) -> bool:
        """Return whether `patience` epochs have passed since the best one."""
        best_epoch, patience = self._training.best_epoch, self._recipe.patience
        return bool(patience) and best_epoch is not None and len(self._training.history) - 1 - best_epoch >= patience

    def _normalized(self, x: Tensor) -> Tensor:
        """Normalize images, float, 0-1, in place, and copy them to the device."""
        x = x.mul(255).sub_(self._kind.mean).div_(self._kind.std)
        return x.to(device=self._device, memory_format=torch.channels_last)

    def _save(self) -> None:
        if self._hooks.saved:
            self._training.scale = self._scaler.state_dict()
            save_state(self._training, *self._hooks.saved)
            self._saved_at = time.monotonic()


@torch.inference_mode()
def predict(network: Network, kind: Architecture, images: LabeledImages, device: torch.device) -> Tensor:
    """Return the logits, float32, (N, labels), on the CPU, of N >= 1 images.

    `network` is in evaluation mode on `device`; `kind` is its architecture.
    """
    logits = []
    for start in range(0, len(images), _MEASURE_BATCH_SIZE):
        x = torch.from_numpy(images.pixels[start : start + _MEASURE_BATCH_SIZE]).permute(0, 3, 1, 2).float()
        x = x.sub_(kind.mean).div_(kind.std).to(device=device, memory_format=torch.channels_last)
        logits.append(network(x).logits.float().cpu())
    return torch.cat(logits)


def _precision(name: str, device: torch.device) -> torch.dtype:
    """Return the number type of a name in `PRECISIONS`; "auto" uses 16 bits on a GPU."""
    if name == "auto":
        if device.type != "cuda":
            return torch.float32
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[name]
