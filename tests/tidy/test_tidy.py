"""The project keeps its house rules: every rule of `rules.py` over every file, and over one planted breach."""

from __future__ import annotations

import pytest

from tidy import rules
from tidy.sources import Source, files

CODE = [one for one in files("src", "tests", "benchmarks") if not one.path.startswith("tests/tidy/")]
"""All but the rules themselves, which name what they forbid."""
EVERYTHING = [
    *CODE,
    *files("docs", suffixes=frozenset({".md", ".py"})),
    *files("cmake", ".ci", suffixes=frozenset({".py", ".sh", ".cmake"})),
]

RULES: list[tuple[rules.Rule, list[Source], Source]] = [
    (rules.lines_are_short, CODE, Source("src/kstore/a.py", "x = '" + "y" * 120 + "'\n")),
    (rules.files_are_short, CODE, Source("src/kstore/a.py", "x = 1\n" * 501)),
    (rules.functions_are_short, CODE, Source("src/kstore/a.py", "def f():\n" + "    x = 1\n" * 81)),
    (rules.nothing_is_unfinished, CODE, Source("src/kstore/a.py", "# TODO: later\n")),
    (rules.every_file_says_what_it_is, CODE, Source("src/kstore/a.py", "import os\n")),
    (rules.native_modules_have_stubs, CODE, Source("src/kstore/_native/absent.pyx", "\n")),
    (rules.files_are_touched_through_the_seam, CODE, Source("src/kstore/log/a.py", "import os\nos.rename(a, b)\n")),
    (rules.libraries_do_not_print, CODE, Source("src/kstore/log/a.py", "def f():\n    print('here')\n")),
    (rules.silenced_checks_name_their_rule, CODE, Source("src/kstore/a.py", "x = f()  # noqa\n")),
    (rules.no_path_of_one_machine, EVERYTHING, Source("docs/a.md", "see /root/project\n")),
]


@pytest.mark.parametrize(("rule", "sources", "planted"), RULES, ids=[rule.__name__ for rule, _, _ in RULES])
def test_rule(rule: rules.Rule, sources: list[Source], planted: Source) -> None:
    assert [finding for source in sources for finding in rule(source)] == []
    assert list(rule(planted)) != [], "the rule does not see the breach that it is there for"


@pytest.mark.parametrize(
    "planted",
    [
        Source("src/kstore/log/a.py", "with open(path) as file:\n    pass\n"),
        Source("src/kstore/log/a.py", "from pathlib import Path\n"),
        Source("src/kstore/log/a.py", "from os import replace\n"),
        Source("src/kstore/log/a.py", "import os\nos.path.exists('a')\n"),
        Source("src/kstore/_native/a.pyx", "from posix.unistd cimport read\n"),
        Source("src/kstore/_native/a.pyx", "def f():\n    os.fsync(3)\n"),
        Source("src/kstore/_native/a.c", "#include <unistd.h>\n"),
    ],
)
def test_the_file_api_is_seen_in_every_shape(planted: Source) -> None:
    assert list(rules.files_are_touched_through_the_seam(planted)) != []


@pytest.mark.parametrize(
    "allowed",
    [
        Source("src/kstore/log/disk.py", "import os\nos.rename('a', 'b')\n"),
        Source("src/kstore/log/a.py", "import os\npath = os.path.join('a', 'b')\nos.getpid()\n"),
        Source("src/kstore/log/a.py", "store = kstore.open('a')\ndisk.unlink('b')\n"),
        Source("src/kstore/_native/a.c", "#include <string.h>\n"),
    ],
)
def test_what_only_looks_like_it_is_not(allowed: Source) -> None:
    assert list(rules.files_are_touched_through_the_seam(allowed)) == []


@pytest.mark.parametrize(
    ("suffix", "text"),
    [
        (
            ".pyx",
            "cdef class A:\n    cdef int f(self) noexcept nogil:\n"
            + "        x = 1\n" * 90
            + "    def g(self): pass\n",
        ),
        (".c", "static int\nlong_one(int a)\n{\n" + "    a++;\n" * 90 + "}\n"),
    ],
)
def test_long_native_functions_are_seen(suffix: str, text: str) -> None:
    assert list(rules.functions_are_short(Source(f"src/kstore/_native/a{suffix}", text))) != []
