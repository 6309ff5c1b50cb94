"""The registry of installed models: shipped ones, and the user's own in `<home>/models`.

Reads cards and file names; imports torch only to verify weights.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from indexer.domain.errors import ModelUnavailable, UsageError
from indexer.domain.models import FULL_PRECISION, InstalledModel, ModelCard, name_for_precision, with_precision
from indexer.system.atomic import replace_file, write_file
from models import zoo
from models.model_card import card_path, card_text, read_card

if TYPE_CHECKING:
    from indexer.domain.reports import DefaultModel, ExportedModel

_log = logging.getLogger(__name__)
_SUFFIX = ".safetensors"
_DEFAULT = "default.txt"


class FolderModelRegistry:
    """Implements `indexer.ports.models.ModelRegistry`: the shipped models, and those in a folder, which need not exist.

    Shipped names take precedence.
    """

    def __init__(self, folder: Path, wanted: str | None = None, precision: str = FULL_PRECISION) -> None:
        """`wanted` is the model that a flag, the environment or the configuration file names: a name or a .safetensors file.

        `precision` is what the model in use computes in.
        """
        self._folder = folder
        self._wanted = wanted
        self._precision = precision

    def __iter__(self) -> Iterator[InstalledModel]:
        """Iterate over all models, shipped ones first."""
        shipped = zoo.checkpoints()
        yield from (InstalledModel(name, path, "shipped") for name, path in shipped.items())
        own = sorted(path for path in self._folder.glob(f"*{_SUFFIX}") if not path.name.startswith("."))
        yield from (InstalledModel(path.stem, path, "yours") for path in own if path.stem not in shipped)

    def cards(self) -> Iterator[tuple[InstalledModel, ModelCard]]:
        """Yield every model with its card, renamed to the name of the model; warn about unusable cards."""
        for model in self:
            try:
                yield model, replace(read_card(model.weights), name=model.name)
            except ModelUnavailable as error:
                _log.warning("%s", error)

    def find(self, name: str) -> Path:
        """Return the weights of a model, by name or as a .safetensors file. Raises ModelUnavailable with the known names."""
        known = self._by_name()
        if name in known:
            return known[name].weights
        if name.endswith(_SUFFIX) and Path(name).exists():
            return Path(name)
        raise ModelUnavailable(f"There is no model {name!r}; known are {_listed(known)}, or give a {_SUFFIX} file.")

    def in_use(self) -> DefaultModel:
        """Return the chosen model, even if it is missing."""
        from indexer.domain.reports import DefaultModel  # a search does not need it

        if self._wanted:
            return DefaultModel(self._wanted, "settings")
        chosen = self._chosen()
        return DefaultModel(chosen, "home") if chosen else DefaultModel(zoo.DEFAULT, "moodex")

    def stored_name(self) -> str:
        """Return the name under which the predictions of the model in use are stored.

        Raises ModelUnavailable if the default of this folder is missing; a model that the user names may be missing.
        """
        name = self._wanted or self._default()
        return name_for_precision(Path(name).stem if name.endswith(_SUFFIX) else name, self._precision)

    def stored_key(self) -> str | None:
        try:
            return with_precision(read_card(self.weights()), self._precision).key
        except ModelUnavailable:
            return None  # its predictions can be searched without it

    def weights(self) -> Path:
        """Return the weights of the model in use. Raises ModelUnavailable."""
        return self.find(self._wanted or self._default())

    def use(self, name: str) -> None:
        """Make a model the default of this folder. Raises ModelUnavailable for an unknown name and an unusable card."""
        known = self._by_name()
        if name not in known:
            raise ModelUnavailable(
                f"There is no model {name!r}; known are {_listed(known)}. A file becomes one with: moodex models add FILE"
            )
        read_card(known[name].weights)
        self._folder.mkdir(parents=True, exist_ok=True)
        write_file(self._folder / _DEFAULT, f"{name}\n".encode())

    def add(self, weights: Path, name: str | None = None, force: bool = False) -> ModelCard:
        """Verify a checkpoint, copy it to this folder under a name (None: that of its card), and return its card.

        Raises UsageError for another kind of file, an invalid name, or a taken one unless `force`, and ModelUnavailable for a
        damaged checkpoint.
        """
        if not weights.is_file() or weights.suffix != _SUFFIX:
            raise UsageError(f"{weights} is not a {_SUFFIX} file; moodex loads no other weights.")
        from models.checkpoint import load

        card, _ = load(weights)
        card = replace(card, name=name or card.name)
        target = self.place(card.name, force)
        if target.exists() and target.samefile(weights):
            raise UsageError(f"{weights} is the model {card.name!r} already.")
        self._folder.mkdir(parents=True, exist_ok=True)
        # After a crash between the two writes, the digest of the card does not match, and the weights are refused.
        replace_file(target, lambda temporary: _copy(weights, temporary, card))
        write_file(card_path(target), card_text(card).encode())
        return card

    def remove(self, name: str) -> None:
        """Delete one of the user's own models. Raises as `check_removable` does."""
        self.check_removable(name)
        weights = self._by_name()[name].weights
        # The weights first: a card without weights is not a model.
        weights.unlink()
        card_path(weights).unlink(missing_ok=True)

    def check_removable(self, name: str, gone: bool = False) -> None:
        """Raise UsageError for a shipped model and the default, ModelUnavailable for a missing one unless `gone` allows it."""
        known = self._by_name()
        if name in known and known[name].origin == "shipped":
            raise UsageError(f"The model {name!r} came with moodex and cannot be removed.")
        if name == self._wanted:
            raise UsageError(f"{name!r} is the model that MOODEX_MODEL or the configuration file names; change that first.")
        if name not in known and not gone:
            own = {model.name: model for model in known.values() if model.origin == "yours"}
            raise ModelUnavailable(f"There is no model {name!r} of yours; yours are {_listed(own)}.")
        if name in known and name == self._chosen():
            raise UsageError(f"{name!r} is the default model; choose another first: moodex models default NAME")

    def export(self, kind: str, name: str, output: Path, force: bool) -> ExportedModel:
        weights = self.find(name)
        from models.export import export

        return export(kind, output, weights, force)

    def _chosen(self) -> str | None:
        """Return the default of this folder; None if there is none."""
        note = self._folder / _DEFAULT
        try:
            return note.read_text(encoding="utf-8").strip() or None
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise ModelUnavailable(f"{note} cannot be read ({error}); rewrite it: moodex models default NAME") from error

    def _default(self) -> str:
        """Return the default: the one of this folder, or else the shipped one."""
        name = self._chosen()
        if name is not None and name not in self._by_name():
            raise ModelUnavailable(f"The default model {name!r} is gone; choose another: moodex models default {zoo.DEFAULT}")
        return name or zoo.DEFAULT

    def _by_name(self) -> dict[str, InstalledModel]:
        return {model.name: model for model in self}

    def place(self, name: str, force: bool = False) -> Path:
        """Return the path of a new model. Raises UsageError for an invalid name, and for a taken one unless `force`."""
        odd = not name.isprintable() or name != name.strip() or name.startswith((".", "-")) or name.endswith(_SUFFIX)
        if odd or set(name) & set("/\\:") or len(name) > 100 or len(name.encode()) > 200:
            raise UsageError(f"A model cannot be called {name!r}: its files are named after it. Choose another with --name.")
        if name == "default":
            raise UsageError("'default' stands for the model in use; choose another name with --name.")
        if name in zoo.checkpoints():
            raise UsageError(f"The name {name!r} belongs to a model that came with moodex; choose another with --name.")
        target = self._folder / f"{name}{_SUFFIX}"
        if target.exists() and not force:
            raise UsageError(f"There is a model {name!r} already; choose another name with --name, or replace it with --force.")
        return target


def _copy(weights: Path, target: Path, card: ModelCard) -> None:
    from blake3 import blake3

    shutil.copyfile(weights, target)
    if blake3().update_mmap(target).hexdigest() != card.weights_digest:
        raise ModelUnavailable(f"The weights {weights} changed while they were read.")


def _listed(names: dict[str, InstalledModel]) -> str:
    return ", ".join(sorted(names)) or "none"
