"""Claims of digests across the processes of a cluster, so that equal bytes are classified once."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from contextlib import ExitStack
from enum import Enum
from typing import TYPE_CHECKING

from indexer.ingest.coordinator import DigestClaims

if TYPE_CHECKING:
    from indexer.ports.cluster import SharedObject
    from indexer.ports.database import Database


class Claim(Enum):
    """The answer to a claim: the page has it, another page has it, or the image needs no predictions."""

    GRANTED = "granted"
    HELD = "held"
    FINISHED = "finished"


class ClaimRegister:
    """The claims of all pages, in one process next to the store. With `recompute`, images are classified again."""

    def __init__(self, database: Database, run_id: int, recompute: bool) -> None:
        self._store = ExitStack().enter_context(database.open(reading=True))
        self._run_id, self._recompute = run_id, recompute
        self._claims = DigestClaims(remember=recompute)
        self._pages: defaultdict[int, set[bytes]] = defaultdict(set)
        self._attempts: Counter[int] = Counter()
        self._file_attempts: Counter[int] = Counter()

    def begin(self, page: int) -> tuple[int, frozenset[bytes]]:
        """Count an attempt at a page; return its number, from 1, and the digests that earlier attempts claimed."""
        self._attempts[page] += 1
        return self._attempts[page], frozenset(self._pages[page])

    def begin_file(self, file_id: int) -> int:
        """Count an attempt at a file on its own; return its number, from 1."""
        self._file_attempts[file_id] += 1
        return self._file_attempts[file_id]

    def end_file(self, file_id: int) -> None:
        """Forget the attempts at a file that was analyzed alone: its worker is alive."""
        del self._file_attempts[file_id]

    def end(self, page: int) -> None:
        """Forget a page whose result has arrived. Its claims stay until they are released."""
        del self._attempts[page]
        self._pages.pop(page, None)

    def take(self, page: int, digest: bytes) -> Claim:
        """Claim a digest for a page, which may have it already."""
        if digest in self._pages[page]:
            return Claim.GRANTED
        if not self._claims.take(digest):
            return Claim.HELD
        if self._claims.finished(digest) or (not self._recompute and self._store.has_prediction(digest, self._run_id)):
            self._claims.release(digest)
            return Claim.FINISHED
        self._pages[page].add(digest)
        return Claim.GRANTED

    def release(self, digest: bytes, finished: bool) -> None:
        """End a claim."""
        self._claims.release(digest, finished)

    def holds(self, digest: bytes) -> bool:
        """Return whether a page has claimed a digest."""
        return self._claims.holds(digest)


class RunClaims:
    """Implements `HeldClaims` for the coordinator of a run, by the register."""

    def __init__(self, register: SharedObject) -> None:
        self._register = register

    def release(self, digest: bytes, finished: bool = False) -> None:
        self._register.tell("release", digest, finished)

    def holds(self, digest: bytes) -> bool:
        return bool(self._register.call("holds", digest))


class PageClaims:
    """Implements `Claims` for the workers of one page, by the register."""

    def __init__(self, register: SharedObject, page: int, former: frozenset[bytes]) -> None:
        """`former` are the digests that earlier attempts at the page claimed."""
        self._register, self._page = register, page
        self._held: set[bytes] = set()
        self._elsewhere: set[bytes] = set()
        self._finished: set[bytes] = set()
        self._unpredicted = set(former)
        self._lock = threading.Lock()

    def take(self, digest: bytes) -> bool:
        with self._lock:
            if digest in self._held:
                return False
            self._held.add(digest)
        claim = self._register.call("take", self._page, digest)
        with self._lock:
            if claim is Claim.HELD:
                self._held.discard(digest)
                self._elsewhere.add(digest)
            elif claim is Claim.FINISHED:
                self._finished.add(digest)
            elif digest not in self._finished:
                self._unpredicted.add(digest)
        return claim is not Claim.HELD

    def release(self, digest: bytes, finished: bool = False) -> None:
        with self._lock:
            self._held.discard(digest)
            if finished:
                self._finished.add(digest)
                self._unpredicted.discard(digest)

    def finished(self, digest: bytes) -> bool:
        return digest in self._finished

    def holds(self, digest: bytes) -> bool:
        return digest in self._held or digest in self._elsewhere

    def unpredicted(self) -> tuple[bytes, ...]:
        """Return the digests that the page claimed and that it has no predictions for."""
        return tuple(self._unpredicted)
