from __future__ import annotations

from pathlib import Path

import pytest

from indexer.domain.errors import MoodexError, UsageError
from indexer.settings import Settings, load_settings


def environment(tmp_path: Path, text: str = "", **variables: str) -> dict[str, str]:
    file = tmp_path / "config.toml"
    file.write_text(text)
    return {"MOODEX_CONFIG": str(file), **variables}


def test_flags_override_variables_and_variables_override_the_file(tmp_path: Path) -> None:
    environ = environment(
        tmp_path, 'device = "mps"\nmodel = "of-file"\nworkers = 3', MOODEX_MODEL="of-variable", MOODEX_DEVICE="cpu"
    )
    settings = load_settings({"device": "cuda:1", "model": None}, environ)
    assert (settings.device, settings.model, settings.workers, settings.batch_size) == ("cuda:1", "of-variable", 3, 0)


def test_home_is_absolute_and_expands_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert load_settings({"home": Path("~/x")}, {}).home == tmp_path / "x"
    assert load_settings({}, environment(tmp_path, MOODEX_HOME="data")).home == tmp_path / "data"
    assert load_settings({}, {"MOODEX_CONFIG": "none"}).home.is_absolute()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("color = 1", "Unknown setting 'color'"),
        ("= 1", "cannot be read as TOML"),
        ("workers = -1", "workers in .* is '-1'; it must be 'auto' or a number"),
        ('require_gpu = "maybe"', "require_gpu in .* must be true or false"),
    ],
)
def test_an_invalid_file_is_an_error_with_its_reason(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_settings({}, environment(tmp_path, text))


@pytest.mark.parametrize("value", ["0", "-3", "many", "1.5"])
def test_an_invalid_flag_is_an_error(value: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--batch-size is"):
        load_settings({"batch_size": value}, environment(tmp_path))


def test_auto_leaves_the_choice_to_moodex(tmp_path: Path) -> None:
    assert load_settings({"batch_size": "auto", "workers": "5"}, environment(tmp_path)).batch_size == 0


def test_a_data_folder_that_cannot_be_created_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(MoodexError, match=r"Cannot create the data folder .*file/home"):
        Settings(home=tmp_path / "file" / "home").make_home()


def test_a_user_without_a_home_folder_needs_a_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user of a container often has no account there."""
    monkeypatch.setattr("indexer.settings.user_config_path", raise_runtime_error)
    monkeypatch.setattr("indexer.settings.user_data_path", raise_runtime_error)
    assert load_settings({"home": tmp_path}, {}).home == tmp_path
    with pytest.raises(UsageError, match="no home folder"):
        load_settings({}, {})


def raise_runtime_error(_name: str) -> Path:
    raise RuntimeError("could not determine the home directory")
