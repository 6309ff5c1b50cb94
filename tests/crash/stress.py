"""One writer that never rests and several readers that believe nothing: python -m tests.crash.stress --minutes 3

The writer changes, deletes, renames, labels and recomputes pictures, with two models, and lets vector indexes be merged; readers,
each a process of its own, ask for everything there is to ask, and check that every answer is of one committed state
(`tests.crash.marked`). It ends with what was done and exit code 0, or 1 where any answer was an error or torn.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from indexer.analysis.analyzer import Analyzer
from indexer.domain.emotions import EMOTIONS
from indexer.domain.errors import WriterBusy
from indexer.domain.export import ExportRequest
from indexer.domain.files import FileState
from indexer.domain.queries import Hit, SearchRequest
from indexer.domain.runs import DIED
from indexer.exporters.text import writer_for
from indexer.ingest import service as ingest_service
from indexer.ingest.run import IndexRequest
from indexer.labels import service as labels_service
from indexer.labels.assign import parse_assignments
from indexer.maintenance import service as maintenance_service
from indexer.maintenance import status as status_service
from indexer.registry import service as registry_service
from indexer.search import service as search_service
from indexer.settings import Settings
from indexer.transfer import export as transfer_export
from tests.crash.marked import (
    AWAY_AT,
    AWAY_EVERY,
    GROUPS,
    MEMBERS,
    MOVED_AT,
    NEVER,
    Mark,
    MarkReader,
    Torn,
    check_groups,
    check_hits,
    check_whole,
    folder_of,
    read,
    write,
)
from tests.support.library import opened
from tests.support.quiet import Remembered

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.synchronize import Event

FIRST, SECOND = "first", "second"
_EVERYTHING = 10_000
_TOLD = 5
_HANGS = 600.0


@dataclass(slots=True)
class Tally:
    """What one process did, by name, and the first things that went wrong."""

    counts: Counter[str] = field(default_factory=Counter)
    errors: int = 0
    torn: int = 0
    told: list[str] = field(default_factory=list)

    def take(self, other: Tally) -> None:
        self.counts.update(other.counts)
        self.errors += other.errors
        self.torn += other.torn
        self.told += other.told

    def wrong(self, what: str) -> None:
        """Take note of the exception at hand."""
        torn = isinstance(sys.exc_info()[1], Torn)
        self.torn += torn
        self.errors += not torn
        if len(self.told) < _TOLD:
            self.told.append(f"{what}: {traceback.format_exc()}")


@dataclass(frozen=True, slots=True)
class World:
    """Where everything lies."""

    place: Path

    @property
    def pictures(self) -> Path:
        return self.place / "pictures"

    @property
    def outside(self) -> Path:
        return self.place / "outside.png"

    def settings(self, model: str) -> Settings:
        return Settings(home=self.place / "home", model=model, workers=2)

    def group(self, number: int) -> Path:
        return self.pictures / folder_of(number)

    def member(self, group: int, member: int) -> bytes:
        return os.fsencode(self.group(group) / f"{member:02d}.png")


class Writer:
    """Everything that changes a library, in an order that a seed decides. `tally` counts commits of each kind."""

    def __init__(self, world: World, seed: int) -> None:
        self._world = world
        self._chance = random.Random(seed)
        self.tally = Tally()
        self._tick = 0

    def begin(self) -> None:
        """Make the library, both models' answers in it."""
        write(self._world.outside, Mark(NEVER, 0))
        for group in range(GROUPS):
            self._world.group(group).mkdir(parents=True)
            self._replace(group)
            self._index(self._world.group(group), SECOND)
        self._tick = GROUPS

    def turn(self) -> None:
        """Let the next group be replaced, and something else happen before and after."""
        group, kind = self._tick % GROUPS, self._tick % AWAY_EVERY
        self._something_else()
        if group and kind == AWAY_AT:
            self._away_and_back(group)
        if group and kind == MOVED_AT:
            self._moved_and_back(group)
        self._replace(group)
        self._tick += 1
        self._something_else()

    def _replace(self, group: int) -> None:
        tick = max(self._tick, group) if self._tick < GROUPS else self._tick
        for member in range(MEMBERS):
            write(Path(os.fsdecode(self._world.member(group, member))), Mark(tick, member))
        self._index(self._world.pictures)
        self.tally.counts["changed"] += 1

    def _away_and_back(self, group: int) -> None:
        aside = self._world.place / "aside"
        self._world.group(group).rename(aside)
        self._index(self._world.pictures, grace_days=self._chance.choice((30, 0)))
        self.tally.counts["deleted"] += 1
        aside.rename(self._world.group(group))
        self._index(self._world.pictures)

    def _moved_and_back(self, group: int) -> None:
        other = self._world.group(group).with_name(f"{folder_of(group)}-moved")
        self._world.group(group).rename(other)
        self._index(self._world.pictures)
        other.rename(self._world.group(group))
        self._index(self._world.pictures)
        self.tally.counts["renamed"] += 2

    def _something_else(self) -> None:
        group = self._chance.randrange(GROUPS)
        match self._chance.choice((*3 * ("label",), *2 * ("second",), "unlabel", "force", "broken", "forget", "nothing")):
            case "label":
                self._label(group, self._chance.choice(EMOTIONS))
            case "unlabel":
                self._label(group, None)
            case "force":
                self._index(self._world.group(group), force=True)
                self.tally.counts["forced"] += 1
            case "second":
                self._index(self._world.group(group), SECOND)
                self.tally.counts["second model"] += 1
            case "broken":
                broken = self._world.pictures / "broken.png"
                if broken.exists():
                    broken.unlink()
                else:
                    broken.write_bytes(b"no picture")
                self._index(self._world.pictures)
                self.tally.counts["broken"] += 1
            case "forget" if self._chance.random() < 0.2:
                self._index(self._world.group(group), SECOND)
                library = opened(self._world.settings(FIRST))
                self._patiently(lambda: registry_service.remove_model(library, SECOND, predictions=True))
                self.tally.counts["forgotten"] += 1

    def _label(self, group: int, emotion: str | None) -> None:
        said = parse_assignments([os.fsencode(self._world.group(group))], emotion, emotion is None)
        self._patiently(lambda: labels_service.label(opened(self._world.settings(FIRST)), said, new=False))
        self.tally.counts["labelled"] += 1

    def _index(self, folder: Path, model: str = FIRST, grace_days: int = 30, **request: Any) -> None:
        settings = replace(self._world.settings(model), grace_days=grace_days)
        self._patiently(
            lambda: ingest_service.index(
                opened(settings, lambda _: Analyzer(MarkReader(model))),
                [os.fsencode(folder)],
                IndexRequest(**request),
                Remembered(),
            )
        )
        self.tally.counts["runs"] += 1

    def _patiently(self, work: Callable[[], object]) -> None:
        """Do something as soon as no reader mends the vector index."""
        end = time.monotonic() + _HANGS
        while True:
            try:
                work()
                return
            except WriterBusy:
                self.tally.counts["waited for a reader"] += 1
                if time.monotonic() > end:
                    raise


class Asker:
    """A reader: asks at random, and checks what it is told."""

    def __init__(self, world: World, number: int, seed: int) -> None:
        self._world = world
        self._chance = random.Random(seed)
        self._table = world.place / f"export-{number}.jsonl"
        self._ways = (
            *3 * (self._all, self._like, self._page, self._feeling, self._picture),
            *2 * (self._show, self._status, self._export),
            self._doctor,
        )
        self._unasked = self._chance.sample(list(dict.fromkeys(self._ways)), len(set(self._ways)))

    @property
    def has_asked_everything(self) -> bool:
        """Whether each question was asked at least once."""
        return not self._unasked

    def ask(self) -> str:
        """Ask each question once, then any at random, and return its name. Raises Torn for an answer that cannot be."""
        way = self._unasked.pop() if self._unasked else self._chance.choice(self._ways)
        way()
        return way.__name__.strip("_")

    def _all(self) -> None:
        hits = self._search(FIRST, under=os.fsencode(self._world.pictures))
        check_hits(FIRST, hits)
        check_whole(hits)

    def _like(self) -> None:
        member = self._chance.randrange(MEMBERS)
        like = self._world.member(0, member)
        least = self._chance.choice((0.0, _between()))
        asked = self._chance.choice(
            ({}, {"dedupe": True}, {"under": os.fsencode(self._world.pictures)}, {"min_score": least}, {"excluded": ("happy",)})
        )
        hits = self._search(FIRST, like=like, **asked)
        itself = next((read(hit.emotions) for hit in hits if hit.path == like), None)
        check_hits(FIRST, hits, itself)
        check_groups(hits, asked.get("min_score", 0.0))
        if asked in ({}, {"dedupe": True}) or "under" in asked:
            if itself is None:
                raise Torn("a picture that does not find itself")
            check_whole([*{hit.image_id: hit for hit in hits}.values()] if asked.get("dedupe") else hits)

    def _page(self) -> None:
        always = MEMBERS * (GROUPS - 1)
        limit = self._chance.randrange(1, 30)
        offset = self._chance.randrange(always - limit)
        how = self._chance.choice(({"like": self._world.member(0, 0)}, {"under": os.fsencode(self._world.pictures)}))
        hits = self._search(FIRST, limit=limit, offset=offset, **how)
        check_hits(FIRST, hits)
        if len(hits) != limit:
            raise Torn(f"{len(hits)} hits where {limit} were asked for, from {offset} on, and {always} exist")

    def _feeling(self) -> None:
        model = self._chance.choice((FIRST, SECOND))
        emotion = self._chance.choice(EMOTIONS)
        hits = self._search(model, emotions=(emotion,), exact_label=True)
        check_hits(model, hits)
        check_groups(hits)
        if any(hit.emotion != emotion for hit in hits):
            raise Torn(f"asked for {emotion}, told {[hit.emotion for hit in hits]}")

    def _picture(self) -> None:
        model = self._chance.choice((FIRST, SECOND))
        under = self._world.group(self._chance.randrange(GROUPS)) if self._chance.random() < 0.3 else self._world.pictures
        hits = self._search(model, image=os.fsencode(self._world.outside), under=os.fsencode(under))
        check_hits(model, hits, Mark(NEVER, 0))
        check_groups(hits)
        if (model, under) == (FIRST, self._world.pictures):
            check_whole(hits)

    def _show(self) -> None:
        path = self._world.member(0, self._chance.randrange(MEMBERS))
        hits = search_service.show(opened(self._world.settings(FIRST), _reader), path)
        check_hits(FIRST, hits)
        if [hit.path for hit in hits] != [path]:
            raise Torn(f"{path!r} is shown as {hits}")

    def _status(self) -> None:
        status = status_service.status(opened(self._world.settings(FIRST)), 10)
        files = status.counts.files
        pictures = {model.card.name: count for model, count in status.models}
        if files.get(FileState.DONE, 0) % MEMBERS or any(count % MEMBERS for count in pictures.values()):
            raise Torn(f"half a group: {files}, {pictures}")
        if len(status.failures) != files.get(FileState.FAILED, 0):
            raise Torn(f"{files} with {status.failures}")
        if pictures[FIRST] != status.counts.images:
            raise Torn(f"{pictures} of {status.counts.images} pictures")
        if any(run.outcome == DIED for run in status.runs):
            raise Torn(f"a run that nobody killed has died: {status.runs}")

    def _export(self) -> None:
        request = ExportRequest(self._table, force=True)
        transfer_export.export(opened(self._world.settings(FIRST)), request, writer_for(self._table, False), Remembered())
        rows = [json.loads(line) for line in self._table.read_text().splitlines()]
        hits = [
            Hit(
                os.fsencode(row["path"]),
                row["digest"],
                row["emotion"],
                row["score"],
                {word: row[f"p_{word}"] for word in EMOTIONS},
                label=row["label"],
            )
            for row in sorted(rows, key=lambda row: -row["score"])
        ]
        check_hits(FIRST, hits)
        check_whole(hits)

    def _doctor(self) -> None:
        found = maintenance_service.check(opened(self._world.settings(FIRST)), False, Remembered()).found
        if found.problems or found.of("runs_died"):
            raise Torn(f"a check-up found {found.findings}")

    def _search(self, model: str, **asked: Any) -> list[Hit]:
        question = replace(SearchRequest(limit=_EVERYTHING), **asked)
        return search_service.search(opened(self._world.settings(model), _reader), question)


def _between() -> float:
    """A score between those of two members."""
    return Mark(0, MEMBERS // 2).score - 0.001


def _reader(settings: Settings) -> Analyzer:
    return Analyzer(MarkReader(str(settings.model)))


def stress(place: Path, seconds: float, readers: int, seed: int, turns: int = 0, answers: int = 0) -> Tally:
    """Let a writer and so many readers loose for a while; what they did and met.

    However slow the machine is, the writer has at least so many `turns`, and each reader so many `answers`.
    """
    world = World(place)
    writer = Writer(world, seed)
    writer.begin()
    context = get_context("spawn")
    over = context.Event()
    processes, ends = [], []
    for number in range(readers):
        own, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_ask_on, args=(world, number, seed, over, theirs, answers), name=f"reader {number}")
        process.start()
        theirs.close()
        processes.append(process)
        ends.append(own)
    with _stopping(over):
        for own in ends:
            if own.poll(_HANGS):  # it has had its first answer
                own.recv()
        end = time.monotonic() + seconds
        while (time.monotonic() < end or turns > 0) and not over.is_set():
            turns -= 1
            try:
                writer.turn()
            except Exception:
                writer.tally.wrong("the writer")
                break
    tally = writer.tally
    for process, own in zip(processes, ends, strict=True):
        tally.take(own.recv() if own.poll(_HANGS) else Tally(errors=1, told=[f"{process.name} hangs"]))
        process.join(_HANGS)
        tally.errors += process.exitcode != 0
    return tally


def _ask_on(world: World, number: int, seed: int, over: Event, tell: Connection, least: int) -> None:
    """What a reader's process does."""
    asker, tally = Asker(world, number, seed * 1000 + number), Tally()
    began = False
    # A slow machine may not come to every question in time.
    while not over.is_set() or least > 0 or not asker.has_asked_everything:
        least -= 1
        try:
            tally.counts[f"answers: {asker.ask()}"] += 1
        except Exception:
            tally.wrong(f"reader {number}")
        if not began:
            began = True
            tell.send(None)
    tell.send(tally)


@contextmanager
def _stopping(over: Event) -> Iterator[None]:
    try:
        yield
    finally:
        over.set()


def main() -> int:
    """The command line."""
    asked = argparse.ArgumentParser(prog="python -m tests.crash.stress", description=__doc__.splitlines()[0])
    asked.add_argument("--minutes", type=float, default=3.0)
    asked.add_argument("--readers", type=int, default=4)
    asked.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    given = asked.parse_args()
    with tempfile.TemporaryDirectory() as place:
        tally = stress(Path(os.path.realpath(place)), 60 * given.minutes, given.readers, given.seed)
    answers = sum(count for name, count in tally.counts.items() if name.startswith("answers: "))
    sys.stdout.writelines(f"{count:>8}  {name}\n" for name, count in sorted(tally.counts.items()))
    sys.stdout.writelines(f"{told}\n" for told in tally.told[:_TOLD])
    sys.stdout.write(
        f"seed {given.seed}: {answers} answers to {given.readers} readers, {tally.counts['runs'] + tally.counts['labelled']} "
        f"runs and labellings, {tally.errors} errors, {tally.torn} torn answers\n"
    )
    return 1 if tally.errors or tally.torn or not answers else 0


if __name__ == "__main__":
    sys.exit(main())
