"""The report of a training on stderr: one line per epoch, on a pipe and in a log."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from tqdm import tqdm

from commands import logs
from commands.output.training import TerminalTraining
from indexer.domain.training import Epoch

EPOCHS = [Epoch(1, 1.5, 0.25, None, None, None, 2.0), Epoch(2, 1.25, 0.5, 1.0, 0.75, 0.625, 3.0)]


@pytest.fixture(autouse=True)
def _default_logging() -> Iterator[None]:
    logs.configure()
    yield
    logs.configure()


def test_an_epoch_is_one_line_on_a_pipe(capfd: pytest.CaptureFixture[str]) -> None:
    for epoch in EPOCHS:
        TerminalTraining().epoch(epoch)
    assert capfd.readouterr().err.splitlines() == [
        "Epoch 1: loss 1.500, accuracy 0.250 (2.0 s)",
        "Epoch 2: loss 1.250, accuracy 0.500; validation 0.750, balanced 0.625 (3.0 s)",
    ]


def test_an_epoch_is_one_object_in_a_json_log(capfd: pytest.CaptureFixture[str]) -> None:
    logs.configure("json", "verbose")
    for epoch in EPOCHS:
        TerminalTraining().epoch(epoch)
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert [line["event"] for line in lines] == ["epoch", "epoch"]
    assert [line["number"] for line in lines] == [1, 2]
    assert lines[1]["validation_balanced"] == 0.625 and lines[0]["validation_loss"] is None


def test_quiet_reports_no_epochs(capfd: pytest.CaptureFixture[str]) -> None:
    logs.configure("text", "quiet")
    TerminalTraining().epoch(EPOCHS[0])
    assert capfd.readouterr().err == ""


def test_a_line_is_not_written_into_the_bar(capsys: pytest.CaptureFixture[str]) -> None:
    """On a terminal the bar is cleared, the line is written, and the bar is drawn again below it."""
    with tqdm(total=2, desc="training", file=None) as bar:
        bar.update()
        TerminalTraining().epoch(EPOCHS[0])
    written = capsys.readouterr().err
    assert "\rEpoch 1: loss 1.500, accuracy 0.250 (2.0 s)\n" in written
