"""The record of captions: what moodex wrote, and nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from indexer.domain.errors import MoodexError
from indexer.transfer.caption_record import FILE_NAME, CaptionRecord


def test_a_recorded_caption_is_found_again(tmp_path: Path) -> None:
    record = CaptionRecord.read(tmp_path)
    record.add(b"/a.txt", b"happy\n")
    for found in (record, CaptionRecord.read(tmp_path)):
        assert found.has(b"/a.txt", b"happy\n")
        assert not found.has(b"/a.txt", b"sad\n") and not found.has(b"/b.txt", b"happy\n")
    record.add(b"/a.txt", b"happy\n")
    assert (tmp_path / FILE_NAME).stat().st_size == 16


def test_an_entry_that_was_cut_off_does_not_shift_the_others(tmp_path: Path) -> None:
    CaptionRecord.read(tmp_path).add(b"/a.txt", b"happy\n")
    with (tmp_path / FILE_NAME).open("ab") as file:
        file.write(b"cut")
    CaptionRecord.read(tmp_path).add(b"/b.txt", b"sad\n")
    record = CaptionRecord.read(tmp_path)
    assert record.has(b"/a.txt", b"happy\n") and record.has(b"/b.txt", b"sad\n")


def test_a_caption_is_found_again_in_a_folder_that_moved(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    written, by_hand = old / "a.txt", old / "b.txt"
    record = CaptionRecord.read(tmp_path)
    for file in (written, by_hand):
        file.write_bytes(b"happy\n")
    record.add(os.fsencode(written), b"happy\n")
    record.add_time(os.fsencode(written), b"happy\n")
    os.utime(by_hand, ns=(5, 5))
    old.rename(new)
    record = CaptionRecord.read(tmp_path)
    assert record.has(os.fsencode(new / "a.txt"), b"happy\n")
    assert not record.has(os.fsencode(new / "a.txt"), b"sad\n")
    assert not record.has(os.fsencode(new / "b.txt"), b"happy\n")
    (new / "a.txt").rename(new / "c.txt")
    assert not record.has(os.fsencode(new / "c.txt"), b"happy\n")


def test_a_relative_path_is_the_same_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    record = CaptionRecord.read(tmp_path)
    record.add(b"a.txt", b"happy\n")
    assert record.has(os.fsencode(tmp_path / "a.txt"), b"happy\n")


def test_a_record_that_cannot_be_used_is_an_error(tmp_path: Path) -> None:
    record = CaptionRecord.read(tmp_path / "missing")
    with pytest.raises(MoodexError, match="record of captions .* cannot be used"):
        record.add(b"/a.txt", b"happy\n")
    (tmp_path / FILE_NAME).mkdir()
    with pytest.raises(MoodexError, match="record of captions .* cannot be used"):
        CaptionRecord.read(tmp_path)
