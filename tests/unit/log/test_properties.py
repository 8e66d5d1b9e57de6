"""`meta.properties`, to the byte what Java writes."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kstore.log import names
from kstore.log.properties import (
    MetaProperties,
    format_meta_properties,
    format_properties,
    parse_meta_properties,
    parse_properties,
)

KAFKAS = (
    b"#\n#Mon Nov 23 23:33:07 UTC 2026\nnode.id=1\ndirectory.id=rOADIN8xoke-VSnSIftXuw\nversion=1\n"
    b"cluster.id=kstorePeerClusterIdAAA\n"
)
WHEN_MS = int(datetime.datetime(2026, 11, 23, 23, 33, 7, tzinfo=datetime.UTC).timestamp() * 1000) + 5
DIRECTORY_ID = names.uuid_from_text("rOADIN8xoke-VSnSIftXuw")


def test_kafkas_bytes():
    meta = MetaProperties("kstorePeerClusterIdAAA", 1, DIRECTORY_ID)
    assert parse_meta_properties(KAFKAS) == meta
    assert format_meta_properties(meta, now_ms=WHEN_MS) == KAFKAS


def test_version_0_calls_the_node_a_broker_and_needs_nothing():
    meta = parse_meta_properties(b"broker.id=3\nversion=0\n")
    assert meta == MetaProperties(None, 3, None, 0)
    assert b"\nbroker.id=3\n" in format_meta_properties(meta, now_ms=0)
    assert parse_meta_properties(b"cluster.id=c") == MetaProperties("c", None, None, 0)
    assert format_meta_properties(MetaProperties("c", None, None, 0), now_ms=0).splitlines()[2:] == [
        b"version=0",
        b"cluster.id=c",
    ]


def test_unknown_keys_survive():
    meta = parse_meta_properties(KAFKAS + b"their.key=a value\n")
    assert meta.other == (("their.key", "a value"),)
    assert parse_meta_properties(format_meta_properties(meta, now_ms=0)) == meta


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(20),
        KAFKAS.replace(b"version=1", b"version=2"),
        KAFKAS.replace(b"node.id", b"broker.id"),
        KAFKAS.replace(b"cluster.id", b"cluster_id"),
        KAFKAS.replace(b"node.id=1", b"node.id=one"),
        KAFKAS.replace(b"node.id=1", b"node.id=1_0"),
        KAFKAS.replace(b"node.id=1", b"node.id=2147483648"),
        KAFKAS.replace(b"IftXuw", b"IftXu"),
        KAFKAS.replace(b"AAA", b"\\u00g0"),
    ],
)
def test_what_kafka_refuses(data):
    assert parse_meta_properties(data) is None


def test_dates():
    for text, when in {
        b"#Thu Jan 01 00:00:00 UTC 1970": 0,
        b"#Sun Feb 29 12:00:01 UTC 2032": 1961668801999,
    }.items():
        assert format_properties({}, now_ms=when) == b"#\n" + text + b"\n"


def test_javas_syntax():
    text = rb"""
# comment
  ! comment \
plain=value
 spaced   value with blanks
colon:value
none
empty=
= no key
esc\:aped\ key=a\=b\\c\td\qe
long=one \
      two \\\
  three
uni=\u00e9\uD83D\uDE00
twice=1
twice=2
last=x"""
    assert parse_properties(text) == {
        "plain": "value",
        "spaced": "value with blanks",
        "colon": "value",
        "none": "",
        "empty": "",
        "": "no key",
        "esc:aped key": "a=b\\c\tdqe",
        "long": "one two \\three",
        "uni": "é\U0001f600",
        "twice": "2",
        "last": "x",
    }
    assert parse_properties(b"a=1\rb=2\r\nc=3\xe9") == {"a": "1", "b": "2", "c": "3é"}
    assert parse_properties(b"a=\\u12") is None
    assert parse_properties(b"a=\\\\u12") == {"a": "\\u12"}


def test_javas_escapes():
    stored = format_properties({"a b:=#!": " x y\t\\é\U0001f600 "}, now_ms=0).splitlines()[-1]
    assert stored == rb"a\ b\:\=\#\!=\ x y\t\\\u00E9\uD83D\uDE00 "


@given(st.dictionaries(st.text(min_size=1, max_size=8), st.text(max_size=8), max_size=20))
def test_round_trip(properties):
    assert parse_properties(format_properties(properties, now_ms=0)) == properties


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (12, "10x6 11x47 2x82 6x44 8x25 0x0 5x3 3x22 7x85 1x41 4x63 9x66"),
        (13, "10x6 11x47 2x82 6x44 8x25 12x88 0x0 5x3 3x22 7x85 1x41 4x63 9x66"),
        (3, "2x82 0x0 1x41"),
    ],
)
def test_the_order_is_that_of_javas_hash_map(count, expected):
    """As Java 17 prints it; the twelfth key makes its table double."""
    keys = [f"{number}x{number * 7919 % 101}" for number in range(count)]
    stored = parse_properties(format_properties({f"key.{key}": "v" for key in keys}, now_ms=0))
    assert " ".join(key.removeprefix("key.") for key in stored) == expected


def test_the_order_of_keys_that_are_not_ascii():
    keys = ["日本", "Ā", "ключ", "a", "b", "c", "\U0001f600"]
    assert list(parse_properties(format_properties(dict.fromkeys(keys, "v"), now_ms=0))) == [
        "Ā",
        "a",
        "b",
        "c",
        "ключ",
        "\U0001f600",
        "日本",
    ]


def test_node_ids_are_int32():
    for number, fits in {2**31 - 1: True, 2**31: False, -(2**31): True, -(2**31) - 1: False}.items():
        meta = parse_meta_properties(b"version=1\ncluster.id=c\nnode.id=%d\n" % number)
        assert (meta is not None and meta.node_id == number) == fits
