"""The decisions of an index run, without threads, files and models."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from indexer.domain.files import Failure, FileStamp
from indexer.domain.images import DecodedImage
from indexer.domain.predictions import Prediction
from indexer.domain.runs import RunCounts
from indexer.ingest.coordinator import (
    AlreadyPredicted,
    ClassifiedBatch,
    ClassifyBatch,
    Coordinator,
    Decoded,
    DecodeFile,
    DigestClaims,
    Done,
    DuplicateInFlight,
    FailedFile,
    Vanished,
    Wait,
    WorkItem,
    WorkResult,
)
from indexer.ports.store_writer import CommitBatch, PendingFile

BATCH = 4
BROKEN = Failure("damaged", "not an image")


def file(number: int) -> PendingFile:
    return PendingFile(number, b"/images/%d.png" % number, FileStamp(1, 1))


def image(digest: bytes) -> DecodedImage:
    return DecodedImage(digest, np.zeros((1, 1, 3), dtype=np.uint8), 1, 1, "PNG")


def predictions() -> tuple[Prediction, ...]:
    return (Prediction((1.0,), np.ones(2, dtype=np.float16)),)


def coordinator(files: Sequence[PendingFile], claims: DigestClaims | None = None, batches: int = 2) -> Coordinator:
    return Coordinator(iter(files), claims or DigestClaims(remember=False), BATCH, batches, workers=2)


def decoded(claims: DigestClaims, pending: PendingFile, digest: bytes) -> Decoded | DuplicateInFlight:
    """Return the result of a worker that reads these bytes: decoded, or a duplicate."""
    return Decoded(pending, {0: image(digest)}) if claims.take(digest) else DuplicateInFlight(pending, digest)


def classified(batch: ClassifyBatch) -> ClassifiedBatch:
    return ClassifiedBatch(batch.images, [{0: predictions()} for _ in batch.images])


def actions_until_wait(plan: Coordinator) -> list[WorkItem]:
    actions: list[WorkItem] = []
    while isinstance(action := plan.next_action(), DecodeFile | ClassifyBatch):
        actions.append(action)
    assert isinstance(action, Wait)
    return actions


def test_a_run_without_files_is_done_at_once() -> None:
    assert isinstance(coordinator([]).next_action(), Done)


def test_files_are_decoded_ahead_of_classification_but_not_without_limit() -> None:
    plan = coordinator([file(number) for number in range(1000)])
    ahead = actions_until_wait(plan)
    assert all(isinstance(action, DecodeFile) for action in ahead)
    assert len(ahead) == BATCH * (2 + 1) + 2 * 2


def test_a_full_batch_is_classified_while_others_are_decoded() -> None:
    claims = DigestClaims(remember=False)
    plan = coordinator([file(number) for number in range(1000)], claims)
    decodings = actions_until_wait(plan)
    for action in decodings[:BATCH]:
        assert isinstance(action, DecodeFile)
        plan.add_result(decoded(claims, action.file, b"%d" % action.file.id))
    (batch,) = actions_until_wait(plan)
    assert isinstance(batch, ClassifyBatch) and len(batch.images) == BATCH


def test_the_last_images_are_shared_among_workers() -> None:
    claims = DigestClaims(remember=False)
    plan = coordinator([file(number) for number in range(6)], claims)
    for action in actions_until_wait(plan):
        assert isinstance(action, DecodeFile)
        plan.add_result(decoded(claims, action.file, b"%d" % action.file.id))
    batches = actions_until_wait(plan)
    assert [len(batch.images) for batch in batches if isinstance(batch, ClassifyBatch)] == [3, 3]


def test_duplicates_wait_for_the_file_that_claimed_their_bytes() -> None:
    claims = DigestClaims(remember=False)
    plan = coordinator([file(1), file(2), file(3)], claims)
    for action in actions_until_wait(plan):
        assert isinstance(action, DecodeFile)
        plan.add_result(decoded(claims, action.file, b"same"))
    (batch,) = actions_until_wait(plan)
    assert isinstance(batch, ClassifyBatch) and len(batch.images) == 1
    plan.add_result(classified(batch))
    commit = plan.next_action()
    assert isinstance(commit, CommitBatch)
    (file_set,) = commit.predicted
    assert sorted(pending.id for pending in file_set.files) == [1, 2, 3]
    assert plan.committed(commit) == RunCounts(indexed=1, reused=2)
    assert not claims.holds(b"same")
    assert isinstance(plan.next_action(), Done)


def test_duplicates_of_a_failed_file_are_decoded() -> None:
    claims = DigestClaims(remember=False)
    plan = coordinator([file(1), file(2)], claims)
    first, second = actions_until_wait(plan)
    assert isinstance(first, DecodeFile) and isinstance(second, DecodeFile)
    assert claims.take(b"same")
    plan.add_result(DuplicateInFlight(second.file, b"same"))
    plan.add_result(FailedFile(first.file, BROKEN, b"same"))
    assert plan.next_action() == DecodeFile(second.file)


def test_a_result_that_is_not_finite_is_a_failed_file() -> None:
    claims = DigestClaims(remember=False)
    plan = coordinator([file(1)], claims)
    (action,) = actions_until_wait(plan)
    assert isinstance(action, DecodeFile)
    plan.add_result(decoded(claims, action.file, b"a"))
    (batch,) = actions_until_wait(plan)
    assert isinstance(batch, ClassifyBatch)
    plan.add_result(ClassifiedBatch(batch.images, [{0: None}]))
    commit = plan.next_action()
    assert isinstance(commit, CommitBatch)
    assert [pending.id for pending, _ in commit.failed] == [1]
    assert not claims.holds(b"a")


def test_files_without_new_predictions_are_committed_in_groups() -> None:
    plan = coordinator([file(number) for number in range(600)])

    def already_predicted(item: WorkItem) -> WorkResult:
        assert isinstance(item, DecodeFile)
        return AlreadyPredicted(item.file, b"%d" % item.file.id)

    commits = list(_run_plan(plan, random.Random(0), already_predicted))
    assert [len(commit.linked) for commit, _ in commits] == [512, 88]
    assert [counts for _, counts in commits] == [RunCounts(reused=512), RunCounts(reused=88)]


def test_a_stopped_run_commits_only_if_there_are_predictions() -> None:
    claims = DigestClaims(remember=False)
    plan = coordinator([file(1), file(2)], claims)
    first, second = actions_until_wait(plan)
    assert isinstance(first, DecodeFile) and isinstance(second, DecodeFile)
    plan.add_result(FailedFile(first.file, BROKEN, None))
    assert plan.take_predicted() is None
    plan.add_result(decoded(claims, second.file, b"b"))
    (batch,) = actions_until_wait(plan)
    assert isinstance(batch, ClassifyBatch)
    plan.add_result(classified(batch))
    last = plan.take_predicted()
    assert last is not None and len(last.predicted) == len(last.failed) == 1


def test_finished_digests_are_remembered_only_if_requested() -> None:
    for remember in (False, True):
        claims = DigestClaims(remember)
        assert claims.take(b"a") and not claims.take(b"a")
        claims.release(b"a", finished=True)
        assert claims.finished(b"a") is remember
        assert claims.take(b"a")


@pytest.mark.parametrize("seed", range(40))
def test_every_file_is_committed_once_in_any_order_of_results(seed: int) -> None:
    chance = random.Random(seed)
    files = [file(number) for number in range(chance.randrange(0, 200))]
    contents = {pending.id: b"%d" % chance.randrange(60) for pending in files}
    claims = DigestClaims(remember=chance.random() < 0.5)
    plan = coordinator(files, claims, batches=chance.randrange(1, 5))
    predicted: set[bytes] = set()
    classified_digests: list[bytes] = []
    committed_ids: list[int] = []
    vanished = 0

    def result(item: WorkItem) -> WorkResult:
        nonlocal vanished
        if isinstance(item, ClassifyBatch):
            classified_digests.extend(entry.image.digest for entry in item.images)
            results = [{0: predictions() if entry.image.digest != b"7" else None} for entry in item.images]
            return ClassifiedBatch(item.images, results)
        digest = contents[item.file.id]
        if digest == b"13":
            vanished += 1
            return Vanished(item.file)
        if not claims.take(digest):
            return DuplicateInFlight(item.file, digest)
        if digest in predicted:
            claims.release(digest)
            return AlreadyPredicted(item.file, digest)
        return FailedFile(item.file, BROKEN, digest) if digest == b"5" else Decoded(item.file, {0: image(digest)})

    counts = RunCounts()
    for commit, commit_counts in _run_plan(plan, chance, result):
        counts += commit_counts
        predicted.update(entry.image.digest for entry in commit.predicted)
        committed_ids += [pending.id for entry in commit.predicted for pending in entry.files]
        committed_ids += [pending.id for pending, _ in (*commit.linked, *commit.failed)]
    assert len(committed_ids) == len(set(committed_ids)) == len(files) - vanished
    assert len([digest for digest in classified_digests if digest != b"7"]) == len(predicted)
    assert counts.indexed + counts.reused + counts.failed == len(committed_ids)


def _run_plan(plan: Coordinator, chance: random.Random, result: object) -> Iterator[tuple[CommitBatch, RunCounts]]:
    """Carry out the actions of a coordinator, with results in random order; yield its commits with their counts."""
    assert callable(result)
    running: list[WorkResult] = []
    while not isinstance(action := plan.next_action(), Done):
        if isinstance(action, CommitBatch):
            yield action, plan.committed(action)
        elif isinstance(action, Wait):
            plan.add_result(running.pop(chance.randrange(len(running))))
        else:
            running.append(result(action))
