"""Decodes broken pictures for as long as wanted: python -m tests.fuzz.decoding --minutes 5 [--seed N]

Everything that must not happen is kept with what made it, in build/fuzz: `--replay FILE` tries it again. The same seed gives
the same pictures.
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

from tests.fuzz.bench import MEMORY, SECONDS, Bench, Outcome
from tests.fuzz.mutations import mutated
from tests.fuzz.seeds import seeds

_KEPT = Path("build/fuzz")
_MOST_KEPT = 200


@dataclass
class Tally:
    """What came of everything that was tried."""

    kinds: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    wrong: list[tuple[str, Outcome]] = field(default_factory=list)
    noisy: int = 0
    slowest: tuple[float, str] = (0.0, "")
    largest: tuple[int, str] = (0, "")

    def add(self, name: str, outcome: Outcome) -> None:
        """Count an outcome; the name begins with the format."""
        self.kinds[name.split("-", maxsplit=1)[0]][outcome.kind] += 1
        self.noisy += bool(outcome.said)
        self.slowest = max(self.slowest, (outcome.seconds, name))
        self.largest = max(self.largest, (outcome.peak, name))
        if outcome.wrong:
            self.wrong.append((name, outcome))

    def lines(self) -> Iterator[str]:
        """A table of formats and outcomes, and what was most."""
        kinds = sorted({kind for counted in self.kinds.values() for kind in counted})
        yield f"{'format':<8}" + "".join(f"{kind:>13}" for kind in kinds)
        for form, counted in self.kinds.items():
            yield f"{form:<8}" + "".join(f"{counted[kind]:>13,}" for kind in kinds)
        yield f"{'all':<8}" + "".join(f"{sum(counted[kind] for counted in self.kinds.values()):>13,}" for kind in kinds)
        yield f"slowest: {self.slowest[0]:.2f} s, {self.slowest[1]}"
        yield f"most memory: {self.largest[0] / 1e6:,.0f} MB, {self.largest[1]}"
        yield f"with lines of the decoder's own on stderr: {self.noisy:,}"
        yield f"must not be: {len(self.wrong)}"


def cases(start: int, known: Mapping[str, bytes]) -> Iterator[tuple[str, bytes]]:
    """Broken pictures without end, each with a name that says how to make it again."""
    names = sorted(known)
    for number in count():
        random = Random(f"{start}/{number}")
        name = random.choice(names)
        yield f"{name} {start}/{number}", mutated(random, known, name)


def main() -> int:
    arguments = _arguments()
    tally = Tally()
    with Bench(arguments.memory << 20, arguments.seconds) as bench:
        if arguments.replay:
            print(bench.try_(arguments.replay.read_bytes()))
            return 0
        until = time.monotonic() + 60 * arguments.minutes
        for name, data in cases(arguments.seed, seeds()):
            if time.monotonic() > until:
                break
            outcome = bench.try_(data)
            tally.add(name, outcome)
            if outcome.wrong and len(tally.wrong) <= _MOST_KEPT:
                _keep(name, data, outcome)
    print("\n".join(tally.lines()))
    return 1 if tally.wrong else 0


def _keep(name: str, data: bytes, outcome: Outcome) -> None:
    _KEPT.mkdir(parents=True, exist_ok=True)
    file = _KEPT / f"{name.replace(' ', '-').replace('/', '-')}.bin"
    file.write_bytes(data)
    print(f"{file}: {outcome.kind}: {outcome.wrong}", file=sys.stderr, flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=int(time.time()), help="default: another one every second")
    parser.add_argument("--memory", type=int, default=MEMORY >> 20, help="MiB that a picture may take")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="that a picture may take")
    parser.add_argument("--replay", type=Path, help="one file instead")
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}, {arguments.memory} MiB and {arguments.seconds:g} s a picture")
    return arguments


if __name__ == "__main__":
    sys.exit(main())
