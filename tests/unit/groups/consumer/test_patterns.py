"""Expressions over topic names: the matches of Python's engine, the refusals of RE2, and no runaway."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kstore.groups.codes import Code, Refused
from kstore.groups.consumer.patterns import Pattern

NAMES = [
    "",
    "a",
    "b",
    "ab",
    "orders",
    "orders-1",
    "orders-22",
    "ORDERS",
    "o.r",
    "a_b",
    "x]y",
    "aaa",
    "__consumer_offsets",
]
REGEXES = [
    "orders-.*", "orders.*", "o.r", r"o\.r", "a|b|ab", "(a|b)+", "[a-c]*", "[^a-c]+", r"\w+-\d+", r"\W*", "a{2,3}",
    "a{3}", "a{2,}", "(?:a|o)b?.*", "(?i)orders", "(?i:o)rders", "(?P<name>a+)", "(?<name>a+)", "^orders$",
    r"\Aorders\z", r"\borders\b.*", r".*\Bs", r"\Qo.r\E", "x]y", "[]x]+y", "[x\\]]+y", "a??", "a*?b", "[[:alpha:]]+",
    "[[:^digit:]]*", "", "()", "a{,2}", "(a{0,2}b?){1,3}", r"\x61b", "a|", ".*_offsets", "[_a-]+", r"[\w-]*",
]  # fmt: skip


def python(regex: str) -> str:
    return (
        regex.replace(r"\z", r"\Z").replace("(?<name>", "(?P<name>").replace(r"\Qo.r\E", r"o\.r")
        .replace("[[:alpha:]]", "[a-zA-Z]").replace("[[:^digit:]]", "[^0-9]").replace("{,2}", r"\{,2\}")
    )  # fmt: skip


@pytest.mark.parametrize("regex", REGEXES)
def test_matches_like_another_engine(regex):
    pattern = Pattern(regex)
    expected = [name for name in NAMES if re.fullmatch(python(regex), name)]
    assert [name for name in NAMES if pattern.matches(name)] == expected


@pytest.mark.parametrize(
    "regex",
    [
        "(", ")", "a)", "[", "[a", "*a", "+", "?", "a**", "a{2}{3}", "(?=a)", "(?!a)", "(?<=a)", "(?<!a)", r"(a)\1",
        "a\\", "[z-a]", "a{1001}", "a{3,2}", "(?P<>a)", "(?P<n", r"\pL", r"\xzz", "[[:what:]]", "(?m)a", r"\k",
        "(" * 200 + ")" * 200, "((a{100}){100}){100}",
    ],
)  # fmt: skip
def test_what_re2_refuses_is_refused(regex):
    with pytest.raises(Refused) as caught:
        Pattern(regex)
    assert caught.value.code is Code.INVALID_REGULAR_EXPRESSION


def test_no_expression_runs_away():
    begin = time.process_time()
    assert not Pattern("(a*)*(a|aa)+(a+)+$").matches("a" * 248 + "!")
    assert Pattern("(a?){200}a{40}").matches("a" * 240)
    assert time.process_time() - begin < 5


parts = st.sampled_from(["a", "b", "-", ".", "[ab]", "[^b]", r"\w", r"\d"])
expressions = st.recursive(
    parts,
    lambda inner: (
        st.builds("({}|{})".format, inner, inner)
        | st.builds("{}{}".format, inner, inner)
        | st.builds("({}){}".format, inner, st.sampled_from(["*", "+", "?", "{2}", "{1,2}", "{0,1}", "{2,}"]))
    ),
    max_leaves=6,
)


@given(expressions, st.lists(st.text("ab-1", max_size=5), max_size=8))
def test_against_another_engine(regex, names):
    pattern = Pattern(regex)
    for name in names:
        assert pattern.matches(name) == bool(re.fullmatch(regex, name)), (regex, name)
