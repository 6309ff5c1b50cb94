"""S3 Inventory: a manifest and its data files instead of the listing of a bucket.

Format: https://docs.aws.amazon.com/AmazonS3/latest/userguide/storage-inventory-location.html
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import sqlite3
import threading
import zlib
from collections.abc import Iterator
from functools import cache
from hashlib import md5
from pathlib import Path
from typing import IO, Any, NamedTuple
from urllib.parse import unquote_plus

from indexer.domain.errors import Unreadable, UsageError
from indexer.sources.entries import InnerFolder, Member
from indexer.sources.remote.server import RemoteFile, read_all
from indexer.sources.remote.servers import open_server, server_of
from indexer.system.addresses import remote_address
from indexer.system.optional import require
from indexer.system.paths import is_under
from indexer.system.safe_read import read_bounded

_MAX_MANIFEST_BYTES = 1 << 26
_BATCH_ROWS = 10_000
_FIELDS = {"Bucket": "bucket", "Key": "key", "Size": "size", "ETag": "e_tag"}
_VERSION_FIELDS = {"IsLatest": "is_latest", "IsDeleteMarker": "is_delete_marker"}
"""The fields that moodex reads, by their names in a manifest; in Parquet files they have the other names."""


class _Object(NamedTuple):
    key: str
    size: int
    tag: str


class Inventory:
    """The objects of a bucket as an inventory names them, in a temporary database. Thread-safe.

    An inventory is hours or days old, so that an object that it does not name is not missing.
    """

    def __init__(self, place: str) -> None:
        """`place` is the address or the path of manifest.json.

        Raises UsageError for anything that is no usable inventory, MissingExtra, and Unreadable if it cannot be read.
        """
        self._place = place
        manifest = self._manifest()
        self._bucket = f"s3://{manifest['sourceBucket']}".encode()
        self._lock = threading.Lock()
        self._rows = sqlite3.connect("", check_same_thread=False, isolation_level=None)  # a file without a name
        self._rows.execute("CREATE TABLE objects (folder BLOB, name BLOB, size INT, version INT)")
        self._rows.execute("CREATE TABLE folders (folder BLOB, name BLOB, PRIMARY KEY (folder, name)) WITHOUT ROWID")
        try:
            self._fill(manifest)
        except (OSError, EOFError, ValueError, LookupError, zlib.error, csv.Error) as error:
            raise UsageError(f"The data files of the inventory {place!r} cannot be read: {error}.") from error
        self._rows.execute("CREATE INDEX by_folder ON objects (folder)")

    def has(self, path: bytes) -> bool:
        """Return whether a path is in the bucket of this inventory."""
        return is_under(path, self._bucket)

    def listing(self, folder: bytes) -> InnerFolder:
        """Return what the inventory has directly in a folder."""
        key = folder[len(self._bucket) + 1 :]
        with self._lock:
            objects = self._rows.execute("SELECT name, size, version FROM objects WHERE folder = ?", (key,)).fetchall()
            subfolders = self._rows.execute("SELECT name FROM folders WHERE folder = ?", (key,)).fetchall()
        members = {name: Member(size, version, None) for name, size, version in objects}
        return InnerFolder(folder, members, {name for (name,) in subfolders}, whole=False)

    def _manifest(self) -> dict[str, Any]:
        try:
            manifest = json.loads(self._bytes(self._place))
            fields = [name.strip() for name in manifest["fileSchema"].split(",")]
            known = {"format": manifest["fileFormat"], "fields": fields, "sourceBucket": str(manifest["sourceBucket"])}
            files = [(str(file["key"]), str(file["MD5checksum"])) for file in manifest["files"]]
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise UsageError(f"{self._place!r} is not the manifest.json of an S3 Inventory.") from error
        if known["format"] == "Parquet":
            fields = [*_FIELDS, *_VERSION_FIELDS]  # the files name their columns
        missing = [name for name in _FIELDS if name not in fields]
        if known["format"] not in ("CSV", "Parquet") or missing:
            reason = f"it lacks the fields {', '.join(missing)}" if missing else f"moodex does not read {known['format']} files"
            raise UsageError(
                f"The inventory {self._place!r} cannot be used: {reason}. Make one as CSV or Parquet, with Size and ETag."
            )
        return {**known, "files": files}

    def _fill(self, manifest: dict[str, Any]) -> None:
        read = _read_csv if manifest["format"] == "CSV" else _read_parquet
        rows: list[tuple[bytes, bytes, int, int]] = []
        for key, checksum in manifest["files"]:
            data = self._data_file(key)
            if md5(data, usedforsecurity=False).hexdigest() != checksum:
                raise Unreadable(f"the file {key} of its inventory is incomplete or damaged")
            for found in read(io.BytesIO(data), manifest["fields"]):
                stamp = RemoteFile(found.size, found.tag, 0).stamp
                folder, name = os.path.split(os.fsencode(found.key))
                if not name:  # a key with a slash at its end stands for a folder
                    continue
                rows.append((folder, name, stamp.size, stamp.version))
                if len(rows) >= _BATCH_ROWS:
                    self._insert(rows)
                    rows = []
        self._insert(rows)

    def _insert(self, rows: list[tuple[bytes, bytes, int, int]]) -> None:
        self._rows.execute("BEGIN")
        self._rows.executemany("INSERT INTO objects VALUES (?, ?, ?, ?)", rows)
        folders = {folder for folder, *_ in rows if folder}
        while folders:
            places = [os.path.split(folder) for folder in folders]
            self._rows.executemany("INSERT OR IGNORE INTO folders VALUES (?, ?)", places)
            folders = {above for above, _ in places if above}
        self._rows.execute("COMMIT")

    def _data_file(self, key: str) -> bytes:
        """Return a data file, whose key is in the bucket of the manifest; of a manifest on a disk, it is beside it."""
        address = remote_address(os.fsencode(self._place))
        if address is None:
            return self._bytes(str(Path(self._place).parent / Path(key).name))
        return self._bytes(os.fsdecode(server_of(address) + b"/" + os.fsencode(key)))

    def _bytes(self, place: str) -> bytes:
        address = remote_address(os.fsencode(place))
        try:
            if address is None:
                return read_bounded(Path(place), _MAX_MANIFEST_BYTES * 8)
            return read_all(open_server(address), address)[0]
        except (OSError, ValueError) as error:
            raise UsageError(f"The inventory {place!r} cannot be read: {error}.") from error


@cache
def open_inventory(place: str) -> Inventory:
    """Return an inventory, which all scans of this process share. Raises as `Inventory` does."""
    return Inventory(place)


def _read_csv(file: IO[bytes], fields: list[str]) -> Iterator[_Object]:
    """Yield the present objects of a data file; their keys are written as in URLs."""
    text = io.TextIOWrapper(gzip.GzipFile(fileobj=file), "utf-8", newline="")
    for values in csv.reader(text):
        row = dict(zip(fields, values, strict=True))
        if row.get("IsLatest", "true") == "true" and row.get("IsDeleteMarker", "false") == "false":
            yield _Object(unquote_plus(row["Key"], errors="surrogateescape"), int(row["Size"] or 0), row["ETag"])


def _read_parquet(file: IO[bytes], _: list[str]) -> Iterator[_Object]:
    require("pyarrow", "pyarrow", "parquet", "An inventory in Parquet files")
    import pyarrow.parquet as pq

    opened = pq.ParquetFile(file)
    columns = [name for name in (*_FIELDS.values(), *_VERSION_FIELDS.values()) if name in opened.schema_arrow.names]
    for batch in opened.iter_batches(batch_size=_BATCH_ROWS, columns=columns):
        for row in batch.to_pylist():
            if row.get("is_latest") is not False and not row.get("is_delete_marker"):
                yield _Object(row["key"], row["size"] or 0, row["e_tag"] or "")
