"""Claims of digests across the processes of a cluster, so that equal bytes are classified once."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple

from indexer.ingest.coordinator import DigestClaims

if TYPE_CHECKING:
    from indexer.ports.cluster import SharedObject
    from indexer.ports.database import Database


class Claim(NamedTuple):
    """The answer to a claim.

    `is_held`: another page has the digest. Else `unpredicted` are the positions of the analyzers that have to classify the image;
    if there are none, the claim has ended.
    """

    is_held: bool
    unpredicted: tuple[int, ...] = ()


class ClaimRegister:
    """The claims of all pages, in one process next to the store. Some analyzers classify all images again."""

    def __init__(self, database: Database, run_id: int, recomputing: Sequence[int], most_pages: int) -> None:
        """`recomputing` are the positions of the analyzers that classify all images again: all or none of the run's.

        `most_pages` is the number of pages that may be begun before their results arrive.
        """
        self._store = ExitStack().enter_context(database.open(reading=True))
        self._run_id, self._recomputing, self._most_pages = run_id, tuple(recomputing), most_pages
        self._claims = DigestClaims(remember=bool(recomputing))
        self._pages: defaultdict[int, dict[bytes, Claim]] = defaultdict(dict)
        self._attempts: Counter[int] = Counter()
        self._file_attempts: Counter[int] = Counter()

    def begin(self, page: int, waited: bool = False) -> tuple[int, frozenset[bytes]] | None:
        """Count an attempt at a page; return its number, from 1, and the digests that earlier attempts claimed.

        None: as many pages as may be are begun; ask again later. A page that was begun before is never refused, nor a worker that
        has `waited` long enough.
        """
        if len(self._attempts) >= self._most_pages and page not in self._attempts and not waited:
            return None
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
            return self._pages[page][digest]
        if not self._claims.take(digest):
            return Claim(is_held=True)
        claim = Claim(is_held=False, unpredicted=self._unpredicted(digest))
        if claim.unpredicted:
            self._pages[page][digest] = claim
        else:
            self._claims.release(digest)
        return claim

    def _unpredicted(self, digest: bytes) -> tuple[int, ...]:
        if self._claims.finished(digest):
            return ()
        return self._recomputing or tuple(self._store.unpredicted(digest, self._run_id))

    def release(self, digests: Sequence[bytes], finished: bool) -> None:
        """End claims."""
        self._claims.release(*digests, finished=finished)

    def holds(self, digest: bytes) -> bool:
        """Return whether a page has claimed a digest."""
        return self._claims.holds(digest)


class RunClaims:
    """Implements `HeldClaims` for the coordinator of a run, by the register."""

    def __init__(self, register: SharedObject) -> None:
        self._register = register

    def release(self, *digests: bytes, finished: bool = False) -> None:
        if digests:
            self._register.tell("release", digests, finished)

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
        self._positions: dict[bytes, tuple[int, ...]] = {}
        self._unpredicted = set(former)
        self._lock = threading.Lock()

    def take(self, digest: bytes) -> bool:
        with self._lock:
            if digest in self._held:
                return False
            self._held.add(digest)
        claim: Claim = self._register.call("take", self._page, digest)
        with self._lock:
            if claim.is_held:
                self._held.discard(digest)
                self._elsewhere.add(digest)
            elif not claim.unpredicted:
                self._finished.add(digest)
            elif digest not in self._finished:
                self._unpredicted.add(digest)
                self._positions[digest] = claim.unpredicted
        return not claim.is_held

    def positions(self, digest: bytes) -> tuple[int, ...]:
        """Return the positions of the analyzers that have to classify the image with a digest, which the page claimed."""
        return self._positions[digest]

    def release(self, *digests: bytes, finished: bool = False) -> None:
        with self._lock:
            self._held.difference_update(digests)
            if finished:
                self._finished.update(digests)
                self._unpredicted.difference_update(digests)

    def finished(self, digest: bytes) -> bool:
        return digest in self._finished

    def holds(self, digest: bytes) -> bool:
        return digest in self._held or digest in self._elsewhere

    def unpredicted(self) -> tuple[bytes, ...]:
        """Return the digests that the page claimed and that it has no predictions for."""
        return tuple(self._unpredicted)
