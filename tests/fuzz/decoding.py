"""Decode mutated images for a time: python -m tests.fuzz.decoding --minutes 5 [--seed N] [--format svg]

Images whose outcome is not allowed are saved in build/fuzz; `--replay FILE` decodes one of them again. The same seed gives the
same images.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from random import Random

from tests.fuzz.mutations import mutate
from tests.fuzz.sandbox import MEMORY_LIMIT_BYTES, TIME_LIMIT_SECONDS, Outcome, Sandbox
from tests.fuzz.seeds import seeds

_FAILURES_FOLDER = Path("build/fuzz")
_MAX_SAVED_FAILURES = 200

_FRAGILE = ("lottie", "svg")
"""Formats whose libraries end their process on some bytes. moodex decodes them in child processes only."""


@dataclass
class Tally:
    """Counts of outcomes by format and kind, the violations, and the slowest and largest images.

    The end of a process is no violation in formats whose libraries are known for it.
    """

    kinds: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    violations: list[tuple[str, Outcome]] = field(default_factory=list)
    with_stderr: int = 0
    slowest: tuple[float, str] = (0.0, "")
    largest: tuple[int, str] = (0, "")

    def add(self, name: str, outcome: Outcome) -> None:
        """Count an outcome; the name begins with the format."""
        self.kinds[name.split("-", maxsplit=1)[0]][outcome.kind] += 1
        self.with_stderr += bool(outcome.stderr)
        self.slowest = max(self.slowest, (outcome.seconds, name))
        self.largest = max(self.largest, (outcome.peak_bytes, name))
        if outcome.violation and not is_isolated_end(name, outcome):
            self.violations.append((name, outcome))

    def lines(self) -> Iterator[str]:
        """Yield a table of formats and outcomes, then the maxima."""
        kinds = sorted({kind for counts in self.kinds.values() for kind in counts})
        yield f"{'format':<8}" + "".join(f"{kind:>13}" for kind in kinds)
        for form, counts in self.kinds.items():
            yield f"{form:<8}" + "".join(f"{counts[kind]:>13,}" for kind in kinds)
        yield f"{'all':<8}" + "".join(f"{sum(counts[kind] for counts in self.kinds.values()):>13,}" for kind in kinds)
        yield f"slowest: {self.slowest[0]:.2f} s, {self.slowest[1]}"
        yield f"most memory: {self.largest[0] / 1e6:,.0f} MB, {self.largest[1]}"
        yield f"with output of the decoding library on stderr: {self.with_stderr:,}"
        yield f"violations: {len(self.violations)}"


def is_isolated_end(name: str, outcome: Outcome) -> bool:
    """Return whether a library ended its process, or did not finish, where moodex expects it: one image fails."""
    return name.startswith(_FRAGILE) and outcome.kind in ("killed", "hang")


def cases(seed: int, corpus: Mapping[str, bytes]) -> Iterator[tuple[str, bytes]]:
    """Yield mutated images without end, each with a name that states how to make it again."""
    names = sorted(corpus)
    for number in count():
        random = Random(f"{seed}/{number}")
        name = random.choice(names)
        yield f"{name} {seed}/{number}", mutate(random, corpus, name)


def main() -> int:
    options = _parse_options()
    tally = Tally()
    with Sandbox(options.memory << 20, options.seconds) as sandbox:
        if options.replay:
            print(sandbox.decode(options.replay.read_bytes()))
            return 0
        end = time.monotonic() + 60 * options.minutes
        corpus = {name: data for name, data in seeds().items() if name.startswith(options.format)}
        for name, data in cases(options.seed, corpus):
            if time.monotonic() > end:
                break
            outcome = sandbox.decode(data)
            tally.add(name, outcome)
            if outcome.violation and not is_isolated_end(name, outcome) and len(tally.violations) <= _MAX_SAVED_FAILURES:
                _save(name, data, outcome)
    print("\n".join(tally.lines()))
    return 1 if tally.violations else 0


def _save(name: str, data: bytes, outcome: Outcome) -> None:
    _FAILURES_FOLDER.mkdir(parents=True, exist_ok=True)
    file = _FAILURES_FOLDER / f"{name.replace(' ', '-').replace('/', '-')}.bin"
    file.write_bytes(data)
    print(f"{file}: {outcome.kind}: {outcome.violation}", file=sys.stderr, flush=True)


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--format", default="", help="decode only seeds whose name begins so; default: all")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="default: the current time in seconds")
    parser.add_argument("--memory", type=int, default=MEMORY_LIMIT_BYTES >> 20, help="limit for one image, MiB")
    parser.add_argument("--seconds", type=float, default=TIME_LIMIT_SECONDS, help="limit for one image")
    parser.add_argument("--replay", type=Path, help="decode only this file")
    options = parser.parse_args()
    print(f"seed {options.seed}, {options.memory} MiB and {options.seconds:g} s for each image")
    return options


if __name__ == "__main__":
    sys.exit(main())
