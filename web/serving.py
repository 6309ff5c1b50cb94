"""What the routes work with: the library, and everything that the server shares between requests."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends
from starlette.requests import Request

from indexer.bootstrap import open_serving_library
from indexer.domain.errors import NotIndexed
from indexer.imaging.decoder_pool import DecoderPool
from indexer.search.folders import FolderTree, folder_tree
from indexer.settings import available_cores
from web.limits import Analyses
from web.maps import ColoredMaps
from web.memory import Kept, LabelsBefore, Upload
from web.tasks import Tasks
from web.thumbnails import Thumbnails

if TYPE_CHECKING:
    from collections.abc import Callable

    from anyio import CapacityLimiter

    from indexer.domain.queries import Hit
    from indexer.library import Library
    from indexer.settings import Settings

_HOUR = 3600.0
_TREE_SECONDS = 2.0
"""During a run, which commits every moment, the folders are counted this often."""

_MAX_COLLECTIONS = 16
"""A collection of 10,000 images takes 15 MB of memory."""

THUMBNAIL_FOLDER = "thumbnails"
COLLECTION_FOLDER = "collections"


@dataclass(slots=True)
class Serving:
    """A library and the state of its server. Threads share it.

    - `uploads`: by the id of the image and the key of the model, see `upload_key`.
    - `collections`: selections that are to be downloaded. `changes`: what `undo` brings back.
    - `thumbnail_workers`: number of thumbnails that are made at the same time.
    - `is_ending`: streams of events end once it is set.
    """

    library: Library
    close_library: Callable[[], None]
    decoders: DecoderPool
    thumbnails: Thumbnails
    tasks: Tasks
    analyses: Analyses
    uploads: Kept[Upload]
    collections: Kept[list[Hit]]
    changes: Kept[LabelsBefore]
    thumbnail_workers: int
    maps: ColoredMaps = field(default_factory=ColoredMaps)
    thumbnail_limiter: CapacityLimiter | None = None
    is_ending: threading.Event = field(default_factory=threading.Event)
    _folders: FolderTree | None = None
    _folders_version: object = None
    _folders_at: float = 0.0
    _folders_lock: threading.Lock = field(default_factory=threading.Lock)

    def with_model(self, name: str | None) -> Library:
        """Return the library with another model in use. A path is no name of a model. Raises NotIndexed."""
        if name is None:
            return self.library
        known = {model.name for model, _ in self.library.models.cards()}
        if name not in known:
            raise NotIndexed(f"No installed model is named {name!r}.")
        return self.library.reopen(replace(self.library.settings, model=name))

    def folders(self) -> FolderTree:
        """Return the folders of the library, which are counted again after a change."""
        with self._folders_lock:
            version, now = self.library.database.version(), time.monotonic()
            is_stale = self._folders is None or (version != self._folders_version and now - self._folders_at > _TREE_SECONDS)
            if self._folders is None or is_stale:
                self._folders, self._folders_version = folder_tree(self.library), version
                self._folders_at = time.monotonic()
            return self._folders

    def end(self) -> None:
        """End all that the server started."""
        self.is_ending.set()
        self.tasks.end()
        self.close_library()
        self.decoders.end()


def open_serving(settings: Settings) -> Serving:
    """Open the library that settings describe for a server."""
    decoders = DecoderPool()
    library, close = open_serving_library(settings, decoders)
    cores = available_cores()
    return Serving(
        library=library,
        close_library=close,
        decoders=decoders,
        thumbnails=Thumbnails(settings.home / THUMBNAIL_FOLDER, decoders, library.source.read),
        tasks=Tasks(settings),
        analyses=Analyses(max(2, cores // 2)),
        uploads=Kept(256, _HOUR),
        collections=Kept(_MAX_COLLECTIONS, _HOUR),
        changes=Kept(100, 24 * _HOUR),
        thumbnail_workers=max(2, cores),
    )


def upload_key(image_id: str, model_key: str) -> str:
    """Return the key of an uploaded image: each model has an embedding of its own."""
    return f"{image_id} {model_key}"


def _serving_of(request: Request) -> Serving:
    serving: Serving = request.app.state.serving
    return serving


Here = Annotated[Serving, Depends(_serving_of)]
"""The state of the server, as an argument of a route."""
