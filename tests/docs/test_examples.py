"""Every example of the documentation runs, in order, page by page, in an empty directory of its own.

What runs: blocks in `python`, with one namespace a page; blocks in `console`, whose lines after `$ ` go to bash. What
is compared: a `text` block right behind a python block with what that printed, and the lines behind a `$ ` line with
what the command printed; `...` stands for anything. A comment `<!-- not run: reason -->` above a block leaves it out.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from docs.pages import ROOT, Block, blocks

HOWTO = sorted((ROOT / "docs" / "howto").glob("*.md"))
OTHERS = ("tutorial.md", "WIRE.md", "GROUPS.md", "REPLICATION.md", "replication/controller.md")
PAGES = [ROOT / "README.md", *HOWTO, *(ROOT / "docs" / name for name in OTHERS)]


def runs(block: Block) -> bool:
    return block.language in {"python", "console"} and not block.note.startswith("not run: ")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, with `kstore` and `python` on the path that run this very tree."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, words in {"kstore": '-m kstore "$@"', "python": '"$@"'}.items():
        (tools / name).write_text(f"#!/bin/sh\nexec '{sys.executable}' {words}\n")
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    monkeypatch.setenv("COLUMNS", "100")
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return work


@pytest.mark.filterwarnings("ignore:(read|open)_text is deprecated")  # by kafka-python
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_page(page: Path, home: Path) -> None:
    check_examples(page)


def test_the_simulator_finds_the_bug_that_its_page_plants(home: Path) -> None:
    """As `test_page`, beside a copy of the sources, of which the page makes another one to plant a bug in."""
    shutil.copytree(ROOT / "src", home / "src", ignore=shutil.ignore_patterns("__pycache__"))
    check_examples(ROOT / "docs" / "SIMULATOR.md")
    assert (home / "src/kstore/replication/leader.py").read_text() != (
        home / "planted/kstore/replication/leader.py"
    ).read_text(), "the line that the page takes out is not there any more"


def check_examples(page: Path) -> None:
    """Run the examples of one page here."""
    found = blocks(page)
    namespace: dict[str, object] = {"__name__": "__main__"}
    for number, block in enumerate(found):
        if not runs(block):
            continue
        where = f"{page.name}:{block.line}"
        if block.language == "console":
            for command, wanted in commands(block.text):
                compare(where, command, wanted, shell(command))
        else:
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                code = compile("\n" * (block.line - 1) + block.text, str(page), "exec")
                exec(code, namespace)
            following = found[number + 1] if number + 1 < len(found) else None
            if following is not None and following.language == "text" and following.note == "":
                compare(where, "the block", following.text, printed.getvalue())


def commands(text: str) -> list[tuple[str, str]]:
    """The commands of a console block, each with the output that is shown for it."""
    pairs: list[tuple[str, str]] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            pairs.append((line[2:], ""))
        elif pairs and pairs[-1][0].endswith("\\") and not pairs[-1][1]:
            pairs[-1] = (f"{pairs[-1][0]}\n{line.removeprefix('> ')}", "")
        else:
            assert pairs, f"output before the first command: {line}"
            pairs[-1] = (pairs[-1][0], f"{pairs[-1][1]}{line}\n")
    return pairs


def shell(command: str) -> str:
    """What a command prints on both channels, as a terminal shows it. An exit code other than 0 is shown too."""
    done = subprocess.run(
        ["bash", "-c", command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120
    )
    return done.stdout.decode(errors="replace")


def compare(where: str, what: str, wanted: str, printed: str) -> None:
    """Fails unless the output fits what the page shows; a page that shows none only wants the command to run."""
    checker = doctest.OutputChecker()
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    if wanted and not checker.check_output(wanted, printed, flags):
        pytest.fail(f"{where}: {what}\n--- shown\n{wanted}--- printed\n{printed}")
    if not wanted and "Traceback" in printed:
        pytest.fail(f"{where}: {what}\n{printed}")


def test_every_link_between_pages_leads_somewhere() -> None:
    import re

    dead = []
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            if not (page.parent / target).exists():
                dead.append(f"{page.relative_to(ROOT)}: {target}")
    assert dead == []
