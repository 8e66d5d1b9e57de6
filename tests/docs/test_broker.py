"""docs/BROKER.md names every API that the broker answers, and in which versions."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

from kstore.broker.config_entries import INERT
from kstore.broker.dispatch import HANDLERS, UNADVERTISED
from kstore.wire.apis import APIS, advertised

PAGE = Path(__file__).parents[2] / "docs" / "BROKER.md"
INERT_KEYS = re.compile(r"(?<=<!-- inert: begin -->\n).*?(?=<!-- inert: end -->)", re.DOTALL)
TABLE = re.compile(r"(?<=<!-- apis: begin -->\n).*?(?=<!-- apis: end -->)", re.DOTALL)


def inert_keys() -> str:
    return textwrap.fill(", ".join(f"`{key}`" for key in sorted(INERT)) + ".", 119, break_on_hyphens=False) + "\n"


def table() -> str:
    lines = ["| key | API | versions |", "|---|---|---|"]
    for key in sorted(HANDLERS):
        first, last = advertised(key)
        versions = "refused" if key in UNADVERTISED else str(first) if first == last else f"{first} to {last}"
        lines.append(f"| {key} | {APIS[key].name} | {versions} |")
    return "\n".join(lines) + "\n"


def test_the_table_of_apis() -> None:
    found = TABLE.search(PAGE.read_text())
    assert found is not None
    assert found.group() == table(), f"docs/BROKER.md should have:\n{table()}"


def test_the_keys_that_have_no_effect() -> None:
    found = INERT_KEYS.search(PAGE.read_text())
    assert found is not None
    assert found.group() == inert_keys(), f"docs/BROKER.md should have:\n{inert_keys()}"
