"""Open mutated archives as index runs do: python -m tests.fuzz.archives --minutes 30.

Whatever their bytes are, an archive is listed or refused with one sentence, each of its members is read or refused, and the child
process that does so neither takes too long nor dies. A crash of the child, which would cost one archive, is counted.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from indexer.domain.errors import ImageError
from indexer.domain.files import stamp_of
from indexer.sources.archives.processes import ArchiveProcesses
from tests.support.archives import FORMATS, encrypted_zip, sevenzipped, zipped
from tests.support.datasets import arrow_file, arrow_stream, images, parquet, url_csv, url_parquet

_SECONDS = 20.0
"""Time for one answer."""

_MAX_READ_MEMBERS = 8
_CRASH = "the program that reads its archive"

MEMBERS = {
    "a.png": b"first",
    "ch/b.png": bytes(range(256)) * 40,
    "c.txt": b"text",
    "in.cbz": zipped({"d.png": b"nested" * 100}),
    "e.png": b"",
}


def seeds() -> dict[str, bytes]:
    """Return valid archives of every format, by name."""
    archives = {name: pack(MEMBERS) for name, pack in FORMATS.items()}
    table = images(MEMBERS)
    urls = [{"url": f"https://example.com/{name}", "key": name} for name in MEMBERS]
    archives |= {"a.parquet": parquet(table), "a.arrow": arrow_stream(table), "b.arrow": arrow_file(table)}
    archives |= {"urls.parquet": url_parquet(urls), "urls.csv": url_csv(urls)}
    return {**archives, "encrypted.zip": encrypted_zip(MEMBERS), "encrypted.7z": sevenzipped(MEMBERS, "secret")}


def cases(seed: int) -> Iterator[tuple[str, bytes]]:
    """Yield mutated archives without an end; equal seeds give equal ones."""
    chance = random.Random(seed)
    corpus = list(seeds().items())
    while True:
        name, data = chance.choice(corpus)
        yield name, _mutated(bytearray(data), chance)


def outcome(processes: ArchiveProcesses, path: Path) -> str:
    """Open an archive and read its members; return "read", "refused" or "crashed". Other errors escape."""
    stamp = stamp_of(path.stat())
    archive = str(path).encode()
    result = "read"
    try:
        contents = processes.contents(archive, stamp)
    except ImageError as error:
        return _kind(error)
    for member in list(contents.files.keys() - contents.urls.keys())[:_MAX_READ_MEMBERS]:
        try:
            processes.read(archive, stamp, member)
        except (ImageError, FileNotFoundError) as error:
            result = max(result, _kind(error), key=("read", "refused", "crashed").index)
    return result


def _kind(error: Exception) -> str:
    return "crashed" if _CRASH in str(error) or "takes more than" in str(error) else "refused"


def _mutated(data: bytearray, chance: random.Random) -> bytes:
    for _ in range(chance.choice((1, 1, 2, 4, 16))):
        at = chance.randrange(len(data)) if data else 0
        match chance.randrange(5):
            case 0:
                data[at : at + 1] = bytes([chance.randrange(256)])
            case 1:
                data[at : at + 4] = chance.choice((b"\xff\xff\xff\xff", b"\0\0\0\0", b"\0\0\0\x80", b"\xff\xff\xff\x7f"))
            case 2:
                del data[at : at + chance.randrange(1, 64)]
            case 3:
                data[at:at] = data[at : at + chance.randrange(1, 64)]
            case _:
                del data[chance.randrange(len(data) + 1) :]
    return bytes(data)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=int(time.time()), help="default: the current time in seconds")
    options = parser.parse_args()
    print(f"seed {options.seed}")
    tally: Counter[str] = Counter()
    processes = ArchiveProcesses(_SECONDS)
    end = time.monotonic() + 60 * options.minutes
    with tempfile.TemporaryDirectory() as folder:
        for number, (name, data) in enumerate(cases(options.seed)):
            if time.monotonic() > end:
                break
            path = Path(folder) / f"{number}-{name}"
            path.write_bytes(data)
            found = outcome(processes, path)
            tally[found] += 1
            if found == "crashed":
                kept = Path(tempfile.gettempdir()) / f"moodex-{options.seed}-{path.name}"
                path.rename(kept)
                print(kept)
            path.unlink(missing_ok=True)
    processes.end()
    print(", ".join(f"{count:,} {kind}" for kind, count in tally.most_common()))
    return 1 if tally["crashed"] else 0


if __name__ == "__main__":
    sys.exit(main())
