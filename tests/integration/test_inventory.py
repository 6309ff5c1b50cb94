"""S3 Inventory instead of the listing of a bucket."""

from __future__ import annotations

import gzip
import io
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from hashlib import md5
from pathlib import Path
from urllib.parse import quote_plus

import pyarrow as pa
import pytest

from indexer.domain.errors import UsageError
from indexer.sources.remote.buckets import open_bucket
from indexer.sources.remote.inventory import open_inventory
from tests.support.bucket import Bucket, bucket
from tests.support.builders import draw_blocks, encoded
from tests.support.datasets import parquet
from tests.support.library import Library, counts
from tests.support.remote_servers import etag

PAGES = {f"ch {number % 2}/päge+{number:02d}.png": encoded(draw_blocks(number)) for number in range(6)}
FIELDS = ("Bucket", "Key", "VersionId", "IsLatest", "IsDeleteMarker", "Size", "ETag")
COLUMNS = ("bucket", "key", "version_id", "is_latest", "is_delete_marker", "size", "e_tag")


@pytest.fixture
def pictures(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    with bucket(monkeypatch) as made:
        made.put({f"comics/{page}": data for page, data in PAGES.items()})
        yield made
        open_bucket.cache_clear()


def rows(pictures: Bucket, pages: dict[str, bytes]) -> list[tuple[object, ...]]:
    present = [
        (pictures.name, f"comics/{page}", "1", True, False, len(data), etag(data).strip('"')) for page, data in pages.items()
    ]
    old = [
        (pictures.name, "comics/old.png", "0", False, False, 3, "x"),
        (pictures.name, "comics/deleted.png", "2", True, True, None, ""),
    ]
    return [*present, *old, (pictures.name, "comics/", "1", True, False, 0, "x")]


def as_csv(found: list[tuple[object, ...]]) -> bytes:
    text = io.StringIO()
    for row in found:
        values = [quote_plus(str(value), safe="/") if name == "Key" else value for name, value in zip(FIELDS, row, strict=True)]
        text.write(
            ",".join(
                '"' + ("" if value is None else str(value).lower() if isinstance(value, bool) else str(value)) + '"'
                for value in values
            )
            + "\n"
        )
    return gzip.compress(text.getvalue().encode())


def as_parquet(found: list[tuple[object, ...]]) -> bytes:
    return parquet(pa.table(dict(zip(COLUMNS, map(list, zip(*found, strict=True)), strict=True))))


def write(pictures: Bucket, data: bytes, kind: str, **changes: object) -> str:
    key = "inventory/data/0.csv.gz"
    manifest = {
        "sourceBucket": pictures.name,
        "destinationBucket": f"arn:aws:s3:::{pictures.name}",
        "fileFormat": kind,
        "fileSchema": ", ".join(FIELDS) if kind == "CSV" else "message s3.inventory { required binary bucket (UTF8); }",
        "files": [{"key": key, "size": len(data), "MD5checksum": md5(data, usedforsecurity=False).hexdigest()}],
        **changes,
    }
    pictures.put({key: data, "inventory/manifest.json": json.dumps(manifest).encode()})
    open_inventory.cache_clear()
    return f"{pictures.address}/inventory/manifest.json"


def with_inventory(library: Library, place: str | None) -> Library:
    library.settings = replace(library.settings, inventory=place)
    return library


def found(library: Library) -> set[str]:
    return {os.fsdecode(hit.path).partition("/comics/")[2] for hit in library.search(min_score=1e-9)}


@pytest.mark.parametrize(("kind", "make"), [("CSV", as_csv), ("Parquet", as_parquet)])
def test_an_inventory_finds_what_a_listing_finds(library: Library, pictures: Bucket, kind: str, make: object) -> None:
    root = Path(f"{pictures.address}/comics")
    place = write(pictures, make(rows(pictures, PAGES)), kind)  # type: ignore[operator]
    assert counts(with_inventory(library, place).index(root)) == {"scanned": 6, "indexed": 6}
    assert found(library) == set(PAGES)
    assert counts(library.index(root)) == {"scanned": 6, "unchanged": 6}
    assert counts(with_inventory(library, None).index(root)) == {"scanned": 6, "unchanged": 6}


def test_an_inventory_removes_nothing(library: Library, pictures: Bucket) -> None:
    root = Path(f"{pictures.address}/comics")
    library.index(root)
    older = {page: data for page, data in PAGES.items() if page.startswith("ch 0/") and not page.endswith("00.png")}
    place = write(pictures, as_csv(rows(pictures, older)), "CSV")
    summary = with_inventory(library, place).index(root, prune=True)
    assert (summary.scanned, summary.unchanged, summary.removed, summary.left_out) == (2, 2, 0, 0)
    assert found(library) == set(PAGES)


def test_another_bucket_is_listed(library: Library, pictures: Bucket) -> None:
    place = write(pictures, as_csv(rows(pictures, PAGES)), "CSV", sourceBucket="another-bucket")
    assert counts(with_inventory(library, place).index(Path(f"{pictures.address}/comics"))) == {"scanned": 6, "indexed": 6}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"fileSchema": "Bucket, Key"}, "lacks the fields Size, ETag"),
        ({"fileFormat": "ORC"}, "does not read ORC"),
        ({"files": [{}]}, "is not the manifest.json"),
        ({"files": [{"key": "none", "MD5checksum": "0"}]}, "cannot be read"),
    ],
)
def test_an_inventory_that_cannot_be_used_ends_the_run(
    library: Library, pictures: Bucket, changes: dict[str, object], reason: str
) -> None:
    place = write(pictures, as_csv(rows(pictures, PAGES)), "CSV", **changes)
    with pytest.raises(UsageError, match=reason):
        with_inventory(library, place).index(Path(f"{pictures.address}/comics"))


def test_a_damaged_data_file_loses_nothing(library: Library, pictures: Bucket) -> None:
    root = Path(f"{pictures.address}/comics")
    library.index(root)
    place = write(pictures, as_csv(rows(pictures, {})), "CSV")
    pictures.put({"inventory/data/0.csv.gz": b"partial"})
    summary = with_inventory(library, place).index(root, prune=True)
    assert (summary.removed, summary.left_out, summary.failed) == (0, 0, 1)
    assert found(library) == set(PAGES)


def test_an_inventory_on_a_disk_has_its_data_files_beside_it(library: Library, pictures: Bucket, tmp_path: Path) -> None:
    data = as_csv(rows(pictures, PAGES))
    write(pictures, data, "CSV")
    (tmp_path / "0.csv.gz").write_bytes(data)
    files = [{"key": "inventory/data/0.csv.gz", "MD5checksum": md5(data, usedforsecurity=False).hexdigest()}]
    manifest = {"sourceBucket": pictures.name, "fileFormat": "CSV", "fileSchema": ", ".join(FIELDS), "files": files}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    library = with_inventory(library, str(tmp_path / "manifest.json"))
    assert counts(library.index(Path(f"{pictures.address}/comics"))) == {"scanned": 6, "indexed": 6}
