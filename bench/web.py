"""Measure the answers of `moodex serve` over a library of N synthetic images.

    python bench/web.py [--images N] [--requests R] [--scroll S]

The script fills a library (bench/synthetic.py), starts the server as a process, and asks it over the loopback interface, one
request at a time: R times each kind of request, with other images, emotions or folders each time. Files of the images that are
shown are created empty, because a search looks whether they exist. Thumbnails are in the cache. At last, Chromium scrolls the
page through S images (bench/web_scroll.py). The result is in bench/results/web-N.md, with the time from the start of the process
to the first page.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench import synthetic  # noqa: E402
from bench.machine import machine  # noqa: E402
from bench.web_scroll import scroll, sentence  # noqa: E402
from db.sqlite.store import SqliteStore  # noqa: E402
from db.vectors.files import FaissFiles  # noqa: E402
from db.vectors.sync import sync_index  # noqa: E402
from web.serving import THUMBNAIL_FOLDER  # noqa: E402

API = "/api/v1"
PAGE = 60
DEEP_PAGE = 1000
THUMBNAIL_BYTES = 8_000
"""Size of the thumbnails in the cache: a drawing of 256 pixels takes about as much."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--requests", type=int, default=100)
    parser.add_argument("--scroll", type=int, default=20_000, help="images to scroll through in Chromium; 0 for none")
    parser.add_argument("--no-result", action="store_true", help="print the result only")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch) / "home"
        fill(home, options.images, os.fsencode(Path(scratch) / "pictures"))
        results = measure(home, options.images, options.requests, min(options.scroll, options.images // 2))
    print(page(results))
    if not options.no_result:
        path = ROOT / "bench" / "results" / f"web-{options.images}"
        path.with_suffix(".json").write_text(json.dumps(results, indent=1) + "\n")
        path.with_suffix(".md").write_text(page(results))


def fill(home: Path, count: int, root: bytes) -> None:
    """Write the library: database, page anchors and vector index."""
    home.mkdir()
    database = home / "moodex.sqlite"
    synthetic.fill(database, count, faithful=0.8, root=root)
    with SqliteStore(database) as store:
        (model,) = store.models()
        store.record_roots([root], [])
        store.restore_pages(model.id)
        sync_index(store, FaissFiles(home / "vectors"), model)


def measure(home: Path, count: int, requests: int, scrolled: int) -> dict[str, Any]:
    """Measure every kind of request: p50, p95 and the greatest time, in ms; then the page while it is scrolled."""
    with serving(home) as (client, start_seconds):
        ids = client.prepare(requests)
        deep = client.cursor_of(f"{API}/search?emotion=neutral", DEEP_PAGE)
        deep_grid = client.cursor_of(f"{API}/images?", DEEP_PAGE)
        emotions = list(synthetic.FREQUENCIES)
        happy = client.json(f"{API}/search?emotion=happy&limit=1")["total"]
        folders = [folder["id"] for folder in client.json(f"{API}/folders?parent={client.root()}")["folders"]]

        def of(values: list[str], number: int) -> str:
            return values[number % len(values)]

        kinds: dict[str, Callable[[int], str]] = {
            "the page, with its first images": lambda _: "/",
            "first page, newest": lambda _: f"{API}/images?limit={PAGE}",
            "first page, best": lambda _: f"{API}/search?limit={PAGE}",
            "an emotion": lambda n: f"{API}/search?limit={PAGE}&emotion={of(emotions, n)}",
            "an emotion, newest": lambda n: f"{API}/images?limit={PAGE}&emotion={of(emotions, n)}",
            "an emotion in a folder": lambda n: f"{API}/search?limit={PAGE}&emotion={of(emotions, n)}&under={of(folders, n)}",
            f"page {DEEP_PAGE:,} of an emotion": lambda _: f"{API}/search?limit={PAGE}&emotion=neutral&cursor={deep}",
            f"page {DEEP_PAGE:,}, newest": lambda _: f"{API}/images?limit={PAGE}&cursor={deep_grid}",
            "a jump, newest": lambda n: f"{API}/images?limit={PAGE}&at={(n + 1) * count // (requests + 1)}",
            "a jump, best": lambda n: f"{API}/search?limit={PAGE}&at={(n + 1) * count // (requests + 1)}",
            "a jump in an emotion": lambda n: f"{API}/search?limit={PAGE}&emotion=happy&at={(n + 1) * happy // (requests + 1)}",
            "more like this": lambda n: f"{API}/search?limit={PAGE}&like={of(ids, n)}",
            "more like this, but sad": lambda n: f"{API}/search?limit={PAGE}&like={of(ids, n)}&emotion=sad",
            "counts of all emotions": lambda _: f"{API}/emotions",
            "counts in a folder": lambda n: f"{API}/emotions?under={of(folders, n)}",
            "one image": lambda n: f"{API}/images/{of(ids, n)}",
            "folders": lambda _: f"{API}/folders",
            "status": lambda _: f"{API}/status",
            "thumbnail, warm": lambda n: f"{API}/images/{of(ids, n)}/thumbnail",
        }
        times = {name: client.times(address, requests) for name, address in kinds.items()}
        memory = client.memory_mb()
        on_page = scroll(client.address, scrolled) if scrolled else None
    return {
        "command": f"python bench/web.py --images {count} --requests {requests}",
        "machine": machine(),
        "start_seconds": round(start_seconds, 2),
        "memory_mb": memory,
        "ms": {name: summary(values) for name, values in times.items()},
        "thumbnails_per_second": round(len(times["thumbnail, warm"]) / sum(times["thumbnail, warm"]) * 1000),
        "scroll": on_page,
    }


class Client:
    """A client that asks one request after the other over one connection."""

    def __init__(self, address: str, process: subprocess.Popen[str], home: Path) -> None:
        self.address = address
        self._connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=600)
        self._process, self._home = process, home

    def get(self, address: str) -> bytes:
        """Return the body of an answer, which must be a success."""
        self._connection.request("GET", address)
        answer = self._connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise SystemExit(f"{address}: {answer.status} {body[:500].decode()}")
        return body

    def json(self, address: str) -> Any:
        """Return the JSON of an answer."""
        return json.loads(self.get(address))

    def root(self) -> str:
        """Return the id of the only root."""
        return str(self.json(f"{API}/folders")["folders"][0]["id"])

    def cursor_of(self, address: str, number: int) -> str:
        """Follow the cursors up to a page, or to the last full one; return its cursor."""
        cursor = ""
        for _ in range(number - 1):
            following = self.json(f"{address}&{urlencode({'limit': PAGE} | ({'cursor': cursor} if cursor else {}))}")["next"]
            if following is None:
                break
            cursor = following
        return cursor

    def prepare(self, count: int) -> list[str]:
        """Put thumbnails of some images into the cache; return the ids of the images."""
        ids = [hit["image_id"] for hit in self.json(f"{API}/images?limit={min(count, 200)}")["hits"]]
        for image_id in ids:
            path = self._home / THUMBNAIL_FOLDER / image_id[:2] / f"{image_id}-256.webp"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x" * THUMBNAIL_BYTES)
        return ids

    def times(self, address: Callable[[int], str], count: int) -> list[float]:
        """Return the times of requests in ms, after each was asked once, and the files that it shows were created."""
        for number in range(count):
            body = self.get(address(number))
            if body.startswith(b'{"hits"'):
                for hit in json.loads(body)["hits"]:
                    Path(hit["path"]).parent.mkdir(parents=True, exist_ok=True)
                    Path(hit["path"]).touch()
        times = []
        for number in range(count):
            started = time.perf_counter()
            self.get(address(number))
            times.append(1000 * (time.perf_counter() - started))
        return times

    def memory_mb(self) -> int:
        """Return the memory of the server's process in MB; 0 where that cannot be read."""
        path = Path(f"/proc/{self._process.pid}/status")
        lines = path.read_text().splitlines() if path.exists() else []
        return sum(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) // 1024


@contextmanager
def serving(home: Path) -> Iterator[tuple[Client, float]]:
    """Start the server; yield a client, and the seconds from the start to the first page."""
    started = time.perf_counter()
    command = [sys.executable, str(ROOT / "cli.py"), "--home", str(home), "serve", "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        if process.stdout is None:
            raise SystemExit("the server has no output")
        client = Client(process.stdout.readline().strip(), process, home)
        client.get("/")
        yield client, time.perf_counter() - started
    finally:
        process.terminate()
        process.communicate()


def summary(times: list[float]) -> dict[str, float]:
    """Return the median, the 95th percentile and the greatest of some times."""
    ordered = sorted(times)
    at = min(len(ordered) - 1, int(0.95 * len(ordered)))
    return {"p50": round(statistics.median(ordered), 1), "p95": round(ordered[at], 1), "max": round(ordered[-1], 1)}


def page(results: dict[str, Any]) -> str:
    """Return the results as a page of the documentation."""
    rows = "\n".join(f"| {name} | {ms['p50']} | {ms['p95']} | {ms['max']} |" for name, ms in results["ms"].items())
    return (
        "# Answers of the web server\n\n"
        f"`{results['command']}` on {results['machine']}; synthetic images, requests over the loopback interface, one at\n"
        f"a time, {PAGE} hits in a page, each request asked once before. Times in ms at the client.\n\n"
        f"| request | p50 | p95 | max |\n|---|---|---|---|\n{rows}\n\n"
        f"From the start of the process to the first page: {results['start_seconds']} s. Thumbnails from the cache: "
        f"{results['thumbnails_per_second']:,} each\nsecond. Memory of the server afterwards: {results['memory_mb']:,} MB.\n"
        + ("" if results["scroll"] is None else "\n" + sentence(results["scroll"]))
    )


if __name__ == "__main__":
    main()
