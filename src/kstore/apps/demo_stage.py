"""Where the demonstration happens: commands that are run, shown and judged.

Owns how commands are started and how what they say is printed, and the facts and failures that the summary is made of.
Must not know the story (`demo`, `demo_broker`).
"""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

SHOWN_LINES = 8
COLUMNS = 110


class Stage:
    """One run in one directory."""

    def __init__(self, directory: Path) -> None:
        """`directory` is emptied by whoever calls."""
        self.directory = directory
        self.input = directory / "input.txt"
        self.lines: list[bytes] = []
        """Of the input, without their ends."""
        self.facts: list[tuple[str, str]] = []
        self.failures: list[str] = []

    def say(self, title: str) -> None:
        """A heading."""
        print(f"\n== {title}", flush=True)

    def command(self, *words: str) -> list[str]:
        """The command line of `kstore WORDS`."""
        return [sys.executable, "-m", "kstore", *words]

    def show(self, *words: str, lines: int = SHOWN_LINES) -> subprocess.CompletedProcess[str]:
        """Run `kstore WORDS`, print it and the beginning of what it says."""
        print("$ kstore " + " ".join(word.replace(f"{self.directory}/", "") for word in words), flush=True)
        done = subprocess.run(self.command(*words), capture_output=True, text=True, check=False)
        said = [*done.stdout.splitlines(), *done.stderr.splitlines()]
        for line in said[:lines]:
            self.quote(line)
        if len(said) > lines:
            print(f"  ... {len(said) - lines} lines more")
        return done

    def quote(self, line: str) -> None:
        """A line that a command said: without the directory's name, wrapped, a very long one cut."""
        text = line.replace(f"{self.directory}/", "")
        if len(text) <= COLUMNS:
            print("  " + text)
        else:
            wrapped = textwrap.wrap(text, COLUMNS, subsequent_indent="    ", max_lines=4, placeholder=" ...")
            print(textwrap.indent("\n".join(wrapped), "  "))

    def check(self, fact: bool, otherwise: str) -> None:
        """Note a claim that does not hold."""
        if not fact:
            self.failures.append(otherwise)
            print(f"  NOT SO: {otherwise}")
