"""Patterns of files that a scan leaves out."""

from __future__ import annotations

import pytest

from indexer.domain.errors import UsageError
from indexer.system.ignore_rules import IgnoreRules, check_exclude_patterns


@pytest.mark.parametrize(
    ("patterns", "left_out", "kept"),
    [
        (["*.gif", "!keep.gif", "drafts/"], ["a.gif", "x/a.gif", "drafts/", "x/drafts/"], ["keep.gif", "drafts", "a.png"]),
        (["/top.png", "a/b.png"], ["top.png", "a/b.png"], ["x/top.png", "x/a/b.png"]),
        (["old*"], ["old", "old/", "x/old.png"], ["bold.png", "old/a.png"]),
        (["old*/"], ["older/", "x/old/"], ["old.png"]),
        (["*", "!keep/"], ["a.png", "keep/a.png", "keep"], ["keep/"]),
        (["a/**", "!a/b.png"], ["a/c.png", "a/d/"], ["a/", "a/b.png"]),
        (["**/x/y.png"], ["x/y.png", "a/b/x/y.png"], ["y.png"]),
        (["[ab]?.png", "\\#c.png"], ["a1.png", "x/b2.png", "#c.png"], ["c1.png", "a.png"]),
        (["# a comment", "", "d.png  "], ["d.png"], ["# a comment"]),
        (["a.png", "!a.png", "a.png"], ["a.png"], []),
        (["!a.png"], [], ["a.png"]),
        (["cafe\u0301/"], ["caf\u00e9/", "cafe\u0301/"], []),
        (["e\u0301*.png"], ["\u00e91.png"], []),
    ],
)
def test_patterns_have_the_rules_of_gitignore(patterns: list[str], left_out: list[str], kept: list[str]) -> None:
    rules = IgnoreRules(patterns)

    def leaves_out(path: str) -> bool:
        return bool(rules.decide(path.removesuffix("/"), path.endswith("/")))

    assert [path for path in [*left_out, *kept] if leaves_out(path)] == left_out


def test_thousands_of_patterns_are_looked_up_not_tried() -> None:
    rules = IgnoreRules([*(f"name{n}.png" for n in range(20_000)), *(f"/a/path{n}.png" for n in range(20_000)), "*.x1", "*.x2"])
    assert not rules._others
    assert rules.decide("x/name19999.png", False) and rules.decide("a/path7.png", False) and rules.decide("b.x2", False)
    assert rules.decide("x/name20000.png", False) is None


def test_an_invalid_pattern_is_one_sentence_that_names_it() -> None:
    with pytest.raises(UsageError, match="Cannot use the exclude patterns: .*'!'"):
        check_exclude_patterns(["*.gif", "!"])
