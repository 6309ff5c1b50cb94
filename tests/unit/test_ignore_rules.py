"""Patterns of files that a scan leaves out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.domain.errors import UsageError
from indexer.system.ignore_rules import IgnoreRules, _matches, _parse, check_exclude_patterns
from indexer.system.wildcards import WildcardPatterns
from tests.support.effort import examples


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
    assert not rules._wildcards
    assert rules.decide("x/name19999.png", False) and rules.decide("a/path7.png", False) and rules.decide("b.x2", False)
    assert rules.decide("x/name20000.png", False) is None


WILDCARDS = (
    *("old{}*", "*{}.png", "/a/b{}/*.jpg", "a/*/x{}.png", "**/t{}/*", "**/y{}.gif", "s?{}.png", "c{}/**", "[ab]{}.png"),
    *("*ld{}*", "**/c/*{}*.png", "a/?{}/[c-d].jpg", "[!x]/t{}/**", "\\o*d{}*", "[]]{}.png", "b[{}", "*/**/{}*"),
)


PATHS = (
    *("old1.png", "x/old2", "1.png", "a/b1/c.jpg", "a/q/x0.png", "t1/z.png", "k/t2/z", "y0.gif", "m/y0.gif", "c1/d/e.png", "c1"),
    *("s71.png", "a1.png", "b0.png", "a/b1", "a/b1/c/d.jpg", "", "]0.png", "b[1", "a/t1", "a/t1/x", "k/c/012.png"),
)


@given(
    st.lists(st.tuples(st.sampled_from(WILDCARDS), st.integers(0, 2), st.booleans(), st.booleans()), max_size=8),
    st.sampled_from(PATHS),
    st.booleans(),
)
@examples(400)
def test_any_wildcards_decide_as_git_does(patterns: list[tuple[str, int, bool, bool]], path: str, is_folder: bool) -> None:
    lines = [f"{'!' * back}{form.format(number)}{'/' * folder}" for form, number, back, folder in patterns]
    expected = None
    for pattern in _parse(lines).patterns:
        if pattern.regex is not None and _matches(pattern.regex, path, is_folder):
            expected = pattern.include
    assert IgnoreRules(lines).decide(path, is_folder) == expected


@pytest.mark.parametrize("form", [form for form in WILDCARDS if not form.startswith("\\")])
def test_few_of_thousands_of_wildcards_are_tried(form: str) -> None:
    patterns = WildcardPatterns([form.format(number) for number in range(1000, 4000)])
    for path in ("a/b1007/c.jpg", "old2000.png", "c2000/t1234/1999.png", "c.jpg"):
        assert sum(map(len, patterns.candidates(path))) <= 3


@pytest.mark.parametrize("number", [2, 2000])
def test_each_pattern_that_matches_is_a_candidate(number: int) -> None:
    """Few and many patterns with a part inside of names are found in different ways."""
    rules = IgnoreRules([*(f"*-{at:04}-*" for at in range(number)), "!*-0001-*"])
    assert rules.decide("lib/a-0000-b.png", False) is True
    assert rules.decide("lib/a-0001-b.png", False) is False
    assert rules.decide("lib/a-9999-b.png", False) is None


def test_an_invalid_pattern_is_one_sentence_that_names_it() -> None:
    with pytest.raises(UsageError, match="Cannot use the exclude patterns: .*'!'"):
        check_exclude_patterns(["*.gif", "!"])
