"""The model registry: models are found, added, removed and chosen by name."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from indexer.domain.errors import ModelUnavailable, UsageError
from indexer.domain.reports import DefaultModel
from models import checkpoint, zoo
from models.model_card import card_path, read_card
from models.model_registry import FolderModelRegistry
from tests.unit.models.conftest import lite0_card, lite0_state
from tests.unit.models.test_checkpoint import replace_weights


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "home/models"


@pytest.fixture
def registry(folder: Path) -> FolderModelRegistry:
    return FolderModelRegistry(folder)


def names(registry: FolderModelRegistry) -> list[tuple[str, str]]:
    return [(model.name, model.origin) for model in registry]


def test_without_a_folder_the_registry_has_the_shipped_models(registry: FolderModelRegistry) -> None:
    assert names(registry) == [(name, "shipped") for name in zoo.checkpoints()]
    assert registry.in_use() == DefaultModel(zoo.DEFAULT, "moodex")
    assert registry.weights() == zoo.checkpoints()[zoo.DEFAULT]


def test_an_added_model_is_found_by_its_name(registry: FolderModelRegistry, folder: Path, saved: Path) -> None:
    card = registry.add(saved)
    assert card.name == "tiny"
    assert registry.find("tiny") == folder / "tiny.safetensors"
    assert checkpoint.load(folder / "tiny.safetensors")[0] == read_card(saved)
    assert sorted(path.name for path in folder.iterdir()) == ["tiny.json", "tiny.safetensors"]


def test_a_model_under_another_name_is_the_same_model(registry: FolderModelRegistry, saved: Path) -> None:
    registry.add(saved, "v1.2 mine")
    card, _ = checkpoint.load(registry.find("v1.2 mine"))
    assert card.name == "v1.2 mine"
    assert (card.weights_digest, card.key, card.about) == (read_card(saved).weights_digest, read_card(saved).key, {})


def test_a_taken_name_is_refused_unless_forced(registry: FolderModelRegistry, saved: Path, tmp_path: Path) -> None:
    registry.add(saved)
    other = checkpoint.save(tmp_path / "other", lite0_card(), lite0_state(seed=1))
    with pytest.raises(UsageError, match="There is a model 'tiny' already"):
        registry.add(other)
    assert read_card(registry.find("tiny")) == read_card(saved)
    registry.add(other, force=True)
    assert checkpoint.load(registry.find("tiny"))[0].key == read_card(other).key


def test_a_model_is_not_added_from_itself(registry: FolderModelRegistry, saved: Path) -> None:
    registry.add(saved)
    with pytest.raises(UsageError, match="already"):
        registry.add(registry.find("tiny"), force=True)
    registry.add(registry.find("tiny"), "copy")
    assert [name for name, origin in names(registry) if origin == "yours"] == ["copy", "tiny"]


@pytest.mark.parametrize("name", ["../out", "a/b", ".hidden", "-f", " x", "a\nb", "x.safetensors", "a:b", "x" * 101])
def test_names_that_are_unsafe_for_files_are_refused(registry: FolderModelRegistry, saved: Path, name: str) -> None:
    with pytest.raises(UsageError, match="cannot be called"):
        registry.add(saved, name)


def test_a_shipped_name_cannot_be_replaced(registry: FolderModelRegistry, saved: Path) -> None:
    with pytest.raises(UsageError, match="came with moodex"):
        registry.add(saved, zoo.DEFAULT, force=True)


def test_a_damaged_model_is_not_added(registry: FolderModelRegistry, folder: Path, saved: Path) -> None:
    replace_weights(saved, pickle.dumps({"a": 1}))
    with pytest.raises(ModelUnavailable, match="is a pickle"):
        registry.add(saved)
    card_path(saved).unlink()
    with pytest.raises(ModelUnavailable, match="has no card"):
        registry.add(saved)
    with pytest.raises(UsageError, match="does not exist"):
        registry.add(saved.with_suffix(".pth"))
    saved.with_suffix(".pth").touch()
    with pytest.raises(UsageError, match=r"is not a \.safetensors file"):
        registry.add(saved.with_suffix(".pth"))
    assert not folder.exists()


def test_weights_that_change_during_the_copy_are_rejected(
    registry: FolderModelRegistry, folder: Path, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.copyfile", lambda _source, target: Path(target).write_bytes(b"others"))
    with pytest.raises(ModelUnavailable, match="changed while"):
        registry.add(saved)
    assert list(folder.iterdir()) == []


def test_the_most_specific_default_wins(registry: FolderModelRegistry, folder: Path, saved: Path) -> None:
    registry.add(saved)
    registry.use("tiny")
    assert registry.in_use() == DefaultModel("tiny", "home")
    assert (registry.stored_name(), registry.weights()) == ("tiny", folder / "tiny.safetensors")
    by_setting = FolderModelRegistry(folder, zoo.DEFAULT)
    assert by_setting.in_use() == DefaultModel(zoo.DEFAULT, "settings")
    assert by_setting.stored_name() == zoo.DEFAULT
    by_file = FolderModelRegistry(folder, str(saved))
    assert (by_file.stored_name(), by_file.weights()) == ("tiny", saved)
    registry.use(zoo.DEFAULT)
    assert registry.stored_name() == zoo.DEFAULT


def test_only_an_installed_model_becomes_the_default(registry: FolderModelRegistry, folder: Path, saved: Path) -> None:
    with pytest.raises(ModelUnavailable, match=r"Unknown model 'tiny'; installed: moodex-lite0.*moodex models add FILE"):
        registry.use("tiny")
    registry.add(saved)
    card_path(folder / "tiny.safetensors").unlink()
    with pytest.raises(ModelUnavailable, match="has no card"):
        registry.use("tiny")
    assert registry.stored_name() == zoo.DEFAULT


def test_a_missing_default_names_the_command_to_choose_one(registry: FolderModelRegistry, folder: Path, saved: Path) -> None:
    registry.add(saved)
    registry.use("tiny")
    registry.find("tiny").unlink()
    for read_default in (registry.stored_name, registry.weights):
        with pytest.raises(ModelUnavailable, match="'tiny' is missing; choose another: moodex models default moodex-lite0"):
            read_default()
    assert registry.in_use() == DefaultModel("tiny", "home")
    # A user who names a missing model can search its predictions.
    assert FolderModelRegistry(folder, "tiny").stored_name() == "tiny"
    registry.use(zoo.DEFAULT)
    assert registry.stored_name() == zoo.DEFAULT


def test_an_unreadable_default_file_is_an_error(registry: FolderModelRegistry, folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "default.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(ModelUnavailable, match=r"default\.txt cannot be read .* moodex models default NAME"):
        registry.stored_name()
    registry.use(zoo.DEFAULT)
    assert registry.stored_name() == zoo.DEFAULT


def test_a_removed_model_is_deleted(registry: FolderModelRegistry, folder: Path, saved: Path) -> None:
    registry.add(saved)
    registry.remove("tiny")
    assert list(folder.iterdir()) == []
    with pytest.raises(ModelUnavailable, match="You have no model 'tiny'; your models: none"):
        registry.remove("tiny")


def test_a_shipped_or_used_model_is_not_removed(registry: FolderModelRegistry, folder: Path, saved: Path) -> None:
    registry.add(saved)
    registry.use("tiny")
    with pytest.raises(UsageError, match="came with moodex"):
        registry.remove(zoo.DEFAULT)
    with pytest.raises(UsageError, match="is the default model; choose another"):
        registry.remove("tiny")
    registry.use(zoo.DEFAULT)
    with pytest.raises(UsageError, match="MOODEX_MODEL"):
        FolderModelRegistry(folder, "tiny").remove("tiny")
    assert registry.find("tiny").exists()


def test_a_model_without_a_usable_card_is_left_out_of_the_list(
    registry: FolderModelRegistry, folder: Path, saved: Path, caplog: pytest.LogCaptureFixture
) -> None:
    registry.add(saved)
    registry.add(saved, "broken")
    (folder / "broken.json").write_text("{")
    (folder / "copied.safetensors").write_bytes(saved.read_bytes())
    (folder / "copied.json").write_text(card_path(saved).read_text())
    assert [card.name for model, card in registry.cards() if model.origin == "yours"] == ["copied", "tiny"]
    assert "broken.json cannot be read as JSON" in caplog.text
    registry.remove("broken")


def test_a_model_is_found_by_its_path(registry: FolderModelRegistry, saved: Path) -> None:
    assert registry.find(str(saved)) == saved
    with pytest.raises(ModelUnavailable, match=r"Unknown model 'none.safetensors'; installed: moodex-lite0"):
        registry.find("none.safetensors")


def test_the_registry_needs_torch_only_to_verify(folder: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from models.model_registry import FolderModelRegistry\n"
        f"registry = FolderModelRegistry(Path({str(folder)!r})); registry.use('moodex-lite0'); list(registry.cards())\n"
        "print(registry.stored_name(), 'torch' in sys.modules, 'numpy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["moodex-lite0", "False", "False"]
