"""Attack a running `moodex serve`: made-up requests over its whole description, and many readers beside index runs.

    python -m tests.fuzz.web_attack [--minutes M] [--readers N] [--schemathesis COMMAND]

The script serves the examples. First schemathesis, which is not among the packages of development (`pip install schemathesis` in
an environment of its own), makes up requests for M minutes: no answer is an error of the server, and each has the type and the
fields of the description. Then N readers ask for three minutes at most, while the library is indexed again and again: no request
fails, no page shows a file twice, and the memory of the server stays below a limit.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parents[2]
CLI = [sys.executable, str(ROOT / "cli.py")]
API = "/api/v1"
CHECKS = "not_a_server_error,content_type_conformance,response_schema_conformance,unsupported_method"
EXCLUDED = ("--exclude-path-regex", "explanation$")
"""An explanation takes seconds: it would take all of the time."""

MAX_MEMORY_MB = 1024
_FIRST_PAGE = re.compile(rb'<script type="application/json" id="first-page">(.*?)</script>')
_READER_SECONDS = 180
_RUN_PAUSE_SECONDS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--readers", type=int, default=64)
    parser.add_argument("--schemathesis", default="schemathesis")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, serving(Path(scratch)) as (address, process):
        failed = made_up_requests(address, options.schemathesis, int(60 * options.minutes))
        failed |= many_readers(address, process.pid, options.readers, min(_READER_SECONDS, 60 * options.minutes))
        failed |= process.poll() is not None
    sys.exit(int(failed))


@contextmanager
def serving(scratch: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Index the examples into a data folder, and serve it."""
    home = ["--home", str(scratch / "home")]
    subprocess.run([*CLI, *home, "--quiet", "index", str(ROOT / "examples/images")], check=True)
    process = subprocess.Popen([*CLI, *home, "serve", "--port", "0"], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip(), process
    finally:
        process.terminate()
        process.communicate()


def made_up_requests(address: str, schemathesis: str, seconds: int) -> bool:
    """Let schemathesis make up requests; return whether it found anything."""
    command = [schemathesis, "run", f"{address}api/v1/openapi.json", "--url", address, "--max-time", str(seconds)]
    return subprocess.run([*command, "--checks", CHECKS, "--request-timeout", "120", *EXCLUDED], check=False).returncode != 0


def many_readers(address: str, pid: int, count: int, seconds: float) -> bool:
    """Let threads read while runs write; print what they saw, and return whether anything was wrong."""
    host = urlsplit(address).netloc
    ids = [hit["image_id"] for hit in json.loads(ask(http.client.HTTPConnection(host), f"{API}/images?limit=200")[1])["hits"]]
    ends_at = time.monotonic() + seconds
    problems: Counter[str] = Counter()
    answers = [0] * count
    readers = [
        threading.Thread(target=read, args=(host, ids, random.Random(number), ends_at, problems, answers, number))
        for number in range(count)
    ]
    for reader in readers:
        reader.start()
    runs: Counter[int] = Counter()
    memory = 0
    while time.monotonic() < ends_at:
        runs[ask(http.client.HTTPConnection(host), f"{API}/runs", json.dumps({"force": True}))[0]] += 1
        memory = max(memory, memory_mb(pid))
        time.sleep(_RUN_PAUSE_SECONDS)
    for reader in readers:
        reader.join()
    started, refused = runs.pop(202, 0), dict(runs)  # one run at a time: the others are refused
    print(f"{sum(answers):,} answers to {count} readers; {started} runs started, refused by status: {refused}")
    print(f"at most {memory:,} MB; problems: {dict(problems)}")
    return bool(problems) or not started or memory > MAX_MEMORY_MB


def read(
    host: str, ids: list[str], chance: random.Random, ends_at: float, problems: Counter[str], answers: list[int], number: int
) -> None:
    """Ask for random things until the time ends."""
    connection = http.client.HTTPConnection(host, timeout=120)
    while time.monotonic() < ends_at:
        image_id = chance.choice(ids)
        address = chance.choice(
            [
                "/",
                f"{API}/images?limit=60",
                f"{API}/search?emotion=happy&limit=60",
                f"{API}/search?like={image_id}&limit=20",
                f"{API}/images/{image_id}",
                f"{API}/images/{image_id}/thumbnail",
                f"{API}/images/{image_id}/original",
                f"{API}/emotions",
                f"{API}/folders",
                f"{API}/status",
            ]
        )
        try:
            status, body = ask(connection, address)
        except OSError as error:
            problems[f"{address.partition('?')[0]}: {error!r}"] += 1
            connection = http.client.HTTPConnection(host, timeout=120)
            continue
        answers[number] += 1
        if status != 200:
            problems[f"{address.partition('?')[0]}: {status} {body[:200]!r}"] += 1
        else:
            paths = paths_of(body)
            problems.update(["a page shows a file twice"] * (len(set(paths)) < len(paths)))


def paths_of(body: bytes) -> list[str]:
    """Return the paths of the files on a page of hits, or on the one that comes with the document; none of other answers."""
    in_document = _FIRST_PAGE.search(body)
    page = body if in_document is None else in_document[1]
    return [hit["path"] for hit in json.loads(page)["hits"]] if page.startswith(b'{"hits"') else []


def ask(connection: http.client.HTTPConnection, address: str, body: str | None = None) -> tuple[int, bytes]:
    """Return the status and the body of an answer; POST with a body."""
    headers = {} if body is None else {"Content-Type": "application/json"}
    connection.request("GET" if body is None else "POST", address, body, headers)
    answer: Any = connection.getresponse()
    return answer.status, answer.read()


def memory_mb(pid: int) -> int:
    """Return the memory of a process in MB; 0 where that cannot be read."""
    path = f"/proc/{pid}/status"
    if not os.path.exists(path):
        return 0
    with open(path, encoding="ascii") as file:
        return sum(int(line.split()[1]) for line in file if line.startswith("VmRSS")) // 1024


if __name__ == "__main__":
    main()
