"""The writing half of the PostgreSQL store: the locks of several writers, and transactions that are tried again."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import ColumnElement, Connection, Engine, Integer, case, cast, func, select
from sqlalchemy.exc import DBAPIError

from db.postgres.errors import RETRIED_STATES, sqlstate_of
from db.schema import RunRow
from db.sql.locks import RUNS, lock_predictions
from db.sql.tuning import DEFAULT_TUNING, StoreTuning
from db.sql.writer import SqlWriter
from indexer.domain.errors import MoodexError
from indexer.domain.runs import RUNNING

if TYPE_CHECKING:
    from indexer.domain.runs import RunCounts
    from indexer.ports.store_writer import RunModel

P = ParamSpec("P")
R = TypeVar("R")

_ATTEMPTS = 8
_FIRST_PAUSE_SECONDS = 0.01
_SERVER_WATCH = "tcp_keepalives_idle = 60", "tcp_keepalives_interval = 10", "tcp_keepalives_count = 6"
"""After two minutes, the server takes a machine that does not answer for dead, and frees the lock of its run."""


def _retried(method: Callable[Concatenate[Any, P], R]) -> Callable[Concatenate[Any, P], R]:
    """Repeat a transaction that a deadlock or another writer stopped: nothing of it was stored."""

    @wraps(method)
    def attempt(self: Any, *args: P.args, **options: P.kwargs) -> R:
        for number in range(_ATTEMPTS - 1):
            try:
                return method(self, *args, **options)
            except DBAPIError as error:
                if sqlstate_of(error) not in RETRIED_STATES:
                    raise
            time.sleep(random.uniform(0.5, 1) * _FIRST_PAUSE_SECONDS * 2**number)  # noqa: S311
        return method(self, *args, **options)

    return attempt  # type: ignore[return-value]  # it names its first parameter


class PostgresWriter(SqlWriter):
    """Implements `indexer.ports.store_writer.StoreWriter` for several processes that write at the same time.

    A process shows that its run goes on by a lock that ends with its connection. A store has one run at a time.
    """

    def __init__(self, engine: Engine, tuning: StoreTuning = DEFAULT_TUNING) -> None:
        super().__init__(engine, tuning)
        self._run: Connection | None = None
        self._own_runs: set[int] = set()

    def begin_run(
        self, roots: Sequence[bytes], model_id: int, detector: str | None = None, further: Sequence[RunModel] = ()
    ) -> int:
        self.release_run()
        run_id = _retried(SqlWriter.begin_run)(self, roots, model_id, detector, further)
        self._own_runs = {*self._own_runs, run_id}
        return run_id

    def finish_run(self, run_id: int, outcome: str, counts: RunCounts, reason: str | None = None) -> None:
        _retried(SqlWriter.finish_run)(self, run_id, outcome, counts, reason)
        self.release_run()

    def forget_run(self, run_id: int) -> None:
        _retried(SqlWriter.forget_run)(self, run_id)
        self.release_run()

    register_model = _retried(SqlWriter.register_model)
    record_scan = _retried(SqlWriter.record_scan)
    commit = _retried(SqlWriter.commit)
    record_roots = _retried(SqlWriter.record_roots)
    forget_files = _retried(SqlWriter.forget_files)
    move_files = _retried(SqlWriter.move_files)
    detect_moves = _retried(SqlWriter.detect_moves)
    delete_failures = _retried(SqlWriter.delete_failures)
    mark_missing = _retried(SqlWriter.mark_missing)
    requeue = _retried(SqlWriter.requeue)
    expire = _retried(SqlWriter.expire)
    hide = _retried(SqlWriter.hide)
    label = _retried(SqlWriter.label)
    derive = _retried(SqlWriter.derive)
    apply_comparison = _retried(SqlWriter.apply_comparison)
    forget_model = _retried(SqlWriter.forget_model)

    def restore_pages(self, model_id: int) -> None:
        """Do nothing: pages by number count up to their first hit, because anchors would make all writers wait for each other."""

    def release_run(self) -> None:
        """Give up the lock of the run of this store, if there is one."""
        if self._run is not None:
            self._run.close()
            self._run = None

    def _build_page_anchors(self, connection: Connection, model_id: int) -> None:
        pass

    def _has_died(self) -> Sequence[ColumnElement[bool]]:
        free = func.pg_try_advisory_xact_lock(cast(RUNS, Integer), cast(RunRow.id, Integer))
        # CASE, so that the server tries no lock of a run that has ended.
        return (case((RunRow.outcome == RUNNING, free), else_=False),)

    def _hold_run(self, run_id: int) -> None:
        self.release_run()  # of an attempt that was repeated
        connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        connection.detach()  # closing it ends the session, and with it the lock
        self._run = connection
        for setting in _SERVER_WATCH:
            connection.exec_driver_sql(f"SET {setting}")
        connection.execute(select(func.pg_advisory_lock(cast(RUNS, Integer), cast(run_id, Integer))))

    def _begin_commit(self, connection: Connection, run_id: int) -> None:
        run = connection.execute(
            select(RunRow.model_id, RunRow.outcome).where(RunRow.id == run_id).with_for_update(read=True)
        ).first()
        is_followed = run_id in self._own_runs and run_id != max(self._own_runs)  # by a run of this store
        if run is None or (run.outcome != RUNNING and not is_followed):
            raise MoodexError("This run has ended: another process took it for dead. Run the same command again.")
        lock_predictions(connection, run.model_id)
