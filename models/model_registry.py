"""The registry of installed models: the shipped ones, and the user's in `<home>/models`.

It reads cards and file names. It imports torch only to export a model, or to add one that has no ONNX graph.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from indexer.domain.errors import ModelUnavailable, UsageError
from indexer.domain.hub import TEXT_KINDS
from indexer.domain.models import FULL_PRECISION, InstalledModel, ModelCard, name_for_precision, with_precision
from indexer.system.atomic import replace_file, write_file
from indexer.system.optional import has_torch, require_torch
from indexer.system.text import named
from models import zoo
from models.model_card import card_path, card_text, read_card

if TYPE_CHECKING:
    from indexer.domain.reports import DefaultModel, ExportedModel
    from indexer.ports.models import Blended, BlendExamples, HubOptions
    from indexer.ports.store_writer import Combine

_log = logging.getLogger(__name__)
_SUFFIX = ".safetensors"
_DEFAULT_FILE = "default.txt"
"""Name of the file that holds the name of the default model."""

_MAX_NAME_CHARACTERS, _MAX_NAME_BYTES = 100, 200
"""Limits of a name: file systems allow 255 bytes, and a name can get suffixes."""


class FolderModelRegistry:
    """Implements `indexer.ports.models.ModelRegistry` with the shipped models and those in a folder.

    The folder need not exist. A model in it with the name of a shipped model is ignored.
    """

    def __init__(self, folder: Path, wanted: str | None = None, precision: str = FULL_PRECISION) -> None:
        """Open the registry of a folder.

        - `wanted`: the model that an option, the environment or the configuration file names, as a name or the path of a
          .safetensors file; None uses the default.
        - `precision`: precision of the model in use: "fp32", "bf16" or "fp16".
        """
        self._folder = folder
        self._wanted = wanted
        self._precision = precision

    def __iter__(self) -> Iterator[InstalledModel]:
        """Iterate over all models, the shipped ones first."""
        shipped = zoo.checkpoints()
        yield from (InstalledModel(name, path, "shipped") for name, path in shipped.items())
        added = sorted(path for path in self._folder.glob(f"*{_SUFFIX}") if not path.name.startswith("."))
        yield from (InstalledModel(path.stem, path, "yours") for path in added if path.stem not in shipped)

    def cards(self) -> Iterator[tuple[InstalledModel, ModelCard]]:
        """Yield every model with its card, under the name of the model; log a warning for an unusable card."""
        for model in self:
            try:
                yield model, replace(read_card(model.weights), name=model.name)
            except ModelUnavailable as error:
                _log.warning("%s", error)

    def find(self, name: str) -> Path:
        """Return the weights file of a model, by name or by the path of a .safetensors file.

        Raises ModelUnavailable, with the names of all models, if there is no such model.
        """
        models = self._by_name()
        if name in models:
            return models[name].weights
        if name.endswith(_SUFFIX) and Path(name).exists():
            return Path(name)
        raise ModelUnavailable(f"Unknown model {name!r}; installed: {_listed(models)}. Give one of these or a {_SUFFIX} file.")

    def in_use(self) -> DefaultModel:
        """Return the name of the model in use and where it was chosen; the model itself may be missing."""
        from indexer.domain.reports import DefaultModel  # a search does not need it

        if self._wanted:
            return DefaultModel(self._wanted, "settings")
        chosen = self._chosen_default()
        return DefaultModel(chosen, "home") if chosen else DefaultModel(zoo.DEFAULT, "moodex")

    def stored_name(self) -> str:
        """Return the name that the store uses for the model in use.

        Raises ModelUnavailable if the model is the default of this folder and missing. A model that the user names may be
        missing.
        """
        name = self._wanted or self._default()
        return name_for_precision(Path(name).stem if name.endswith(_SUFFIX) else name, self._precision)

    def stored_key(self) -> str | None:
        try:
            return with_precision(read_card(self.weights()), self._precision).key
        except ModelUnavailable:
            return None  # stored predictions can be searched without the model

    def text_card(self) -> ModelCard | None:
        path = self.text_weights()
        return None if path is None else read_card(path)

    def text_weights(self) -> Path | None:
        """Return the weights file of the model that `text_card` describes."""
        try:
            path = self.weights()
            if members := read_card(path).members:
                path = self.find(members[0][0])
            source = read_card(path).hub
        except ModelUnavailable:
            return None  # stored predictions can be searched without the model
        return path if source is not None and source.kind in TEXT_KINDS else None

    def weights(self) -> Path:
        """Return the weights file of the model in use. Raises ModelUnavailable."""
        return self.find(self._wanted or self._default())

    def use(self, name: str) -> None:
        """Make a model the default of this folder. Raises ModelUnavailable for an unknown name and an unusable card."""
        models = self._by_name()
        if name not in models:
            raise ModelUnavailable(
                f"Unknown model {name!r}; installed: {_listed(models)}. Install a file with: moodex models add FILE"
            )
        read_card(models[name].weights)
        self._folder.mkdir(parents=True, exist_ok=True)
        write_file(self._folder / _DEFAULT_FILE, f"{name}\n".encode())

    def add(self, weights: Path, name: str | None = None, force: bool = False) -> ModelCard:
        """Verify a checkpoint, copy it to this folder, and return its card.

        `name` is its new name; None uses the name on its card. Raises UsageError for another kind of file, for an invalid name,
        and for an existing name unless `force` is True; ModelUnavailable for a damaged checkpoint; MissingExtra if only PyTorch
        knows its network and is not installed.
        """
        if not weights.exists():
            raise UsageError(f"{weights} does not exist; give the {_SUFFIX} file of a model.")
        if not weights.is_file() or weights.suffix != _SUFFIX:
            raise UsageError(f"{weights} is not a {_SUFFIX} file; moodex loads no other weights.")
        from models.checkpoint_arrays import load_all

        card, _ = load_all(weights)
        card = replace(card, name=name or card.name)
        target = self.path_for_new(card.name, force)
        if target.exists() and target.samefile(weights):
            raise UsageError(f"{weights} is already installed as the model {card.name!r}.")
        self._folder.mkdir(parents=True, exist_ok=True)
        # After a crash between the two writes, the digest on the card does not match, so moodex refuses the weights.
        replace_file(target, lambda temporary: _copy(weights, temporary, card))
        write_file(card_path(target), card_text(card).encode())
        return card

    def add_from_hub(
        self, reference: str, options: HubOptions, announce: Callable[[str], None], name: str | None = None, force: bool = False
    ) -> ModelCard:
        from models.hub.add import add_hub_model, hub_reference

        name = name or hub_reference(reference).repository.partition("/")[2]
        self.path_for_new(name, force)  # before the download
        return add_hub_model(self._folder, name, reference, options, announce)

    def blend(
        self,
        name: str,
        members: Sequence[ModelCard],
        examples: BlendExamples | None,
        weights: Sequence[float] | None,
        force: bool = False,
    ) -> Blended:
        from indexer.ports.models import Blended
        from models.blending import make_blend

        self.path_for_new(name, force)
        card, blend, losses = make_blend(self._folder, name, members, examples, weights)
        return Blended(card, blend.combine, tuple(blend.weights.tolist()), blend.temperature, losses)

    def blends(self) -> Iterator[tuple[ModelCard, Combine]]:
        installed = {card.key: (model, card) for model, card in self.cards()}
        cards = {key: card for key, (_, card) in installed.items()}
        for model, card in installed.values():
            members = [cards.get(key) for _, key in card.members]
            if members and all(members):
                from models.blending import open_blend
                from models.checkpoint_arrays import load_all

                yield card, open_blend(*load_all(model.weights), [member for member in members if member])

    def remove(self, name: str) -> None:
        """Delete one of the user's models. Raises what `check_removable` raises."""
        self.check_removable(name)
        weights = self._by_name()[name].weights
        # The weights first: after a crash between the two deletions, a card without weights is not a model.
        weights.unlink()
        card_path(weights).unlink(missing_ok=True)

    def check_removable(self, name: str, gone: bool = False) -> None:
        """Raise UsageError if a model is shipped or in use, ModelUnavailable if it is unknown.

        With `gone`, an unknown model is allowed.
        """
        models = self._by_name()
        if name in models and models[name].origin == "shipped":
            raise UsageError(f"The model {name!r} came with moodex and cannot be removed.")
        if name == self._wanted:
            raise UsageError(f"{name!r} is the model that MOODEX_MODEL or the configuration file names; change that first.")
        if name not in models and not gone:
            removable = {model.name: model for model in models.values() if model.origin == "yours"}
            raise ModelUnavailable(f"You have no model {name!r}; your models: {_listed(removable)}.")
        if name in models and name == self._chosen_default():
            raise UsageError(f"{name!r} is the default model; choose another first: moodex models default NAME")

    def export(self, kind: str, name: str, output: Path, force: bool) -> ExportedModel:
        weights = self.find(name)
        card = read_card(weights)
        if card.hub is not None or card.members:
            raise UsageError(f"{name!r} has no network of its own to export: it is of a hub, or a blend.")
        from models.exported_file import check_target

        check_target(output, force)
        try:
            if kind == "onnx" and not has_torch():
                from models.export_graph import export_graph

                return export_graph(output, weights)
            require_torch(f"--format {kind}")
            from models import export

            return {"onnx": export.export_onnx, "torch": export.export_torch}[kind](output, weights)
        except OSError as error:
            raise UsageError(f"{output} cannot be written: {error.strerror or error}.") from error

    def _chosen_default(self) -> str | None:
        """Return the name of the user's default in this folder; None if there is not one.

        Raises ModelUnavailable if the file with the name cannot be read.
        """
        path = self._folder / _DEFAULT_FILE
        try:
            return path.read_text(encoding="utf-8").strip() or None
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise ModelUnavailable(f"{path} cannot be read ({error}); rewrite it: moodex models default NAME") from error

    def _default(self) -> str:
        """Return the default of this folder, or else the shipped default. Raises ModelUnavailable if it is missing."""
        name = self._chosen_default()
        if name is not None and name not in self._by_name():
            raise ModelUnavailable(f"The default model {name!r} is missing; choose another: moodex models default {zoo.DEFAULT}")
        return name or zoo.DEFAULT

    def _by_name(self) -> dict[str, InstalledModel]:
        return {model.name: model for model in self}

    def path_for_new(self, name: str, force: bool = False) -> Path:
        """Return the path for the weights of a new model.

        Raises UsageError for an invalid name, and for an existing name unless `force` is True.
        """
        invalid = not name.isprintable() or name != name.strip() or name.startswith((".", "-")) or name.endswith(_SUFFIX)
        too_long = len(name) > _MAX_NAME_CHARACTERS or len(name.encode()) > _MAX_NAME_BYTES
        if invalid or too_long or set(name) & set("/\\:"):
            raise UsageError(f"A model cannot be called {name!r}: its files are named after it. Choose another with --name.")
        if name == "default":
            raise UsageError("'default' means the model in use; choose another name with --name.")
        if name in zoo.checkpoints():
            raise UsageError(f"The name {name!r} belongs to a model that came with moodex; choose another with --name.")
        target = self._folder / f"{name}{_SUFFIX}"
        if target.exists() and not force:
            raise UsageError(f"There is a model {name!r} already; choose another name with --name, or replace it with --force.")
        return target


def _copy(weights: Path, target: Path, card: ModelCard) -> None:
    """Copy weights. Raises ModelUnavailable if the copy does not have the digest on the card."""
    from blake3 import blake3

    shutil.copyfile(weights, target)
    if blake3().update_mmap(target).hexdigest() != card.weights_digest:
        raise ModelUnavailable(f"The weights {weights} changed while they were read.")


def _listed(models: dict[str, InstalledModel]) -> str:
    return named(sorted(models)) or "none"
