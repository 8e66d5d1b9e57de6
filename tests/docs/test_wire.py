"""The page on the wire protocol lists the versions that there are."""

from __future__ import annotations

from docs.pages import ROOT
from kstore.wire.apis import APIS, advertised

BEGIN, END = "<!-- versions: begin -->\n", "<!-- versions: end -->"


def table() -> str:
    lines = ["| key | API | versions | flexible from | advertised |", "|---|---|---|---|---|"]
    for row in sorted(APIS.values()):
        offered = advertised(row.key)
        other = "" if offered == (row.first, row.last) else f"{offered[0]} to {offered[1]}"
        versions = f"{row.first} to {row.last}" if row.first < row.last else f"{row.first}"
        flexible = "never" if row.flexible is None else row.flexible
        lines.append(f"| {row.key} | {row.name} | {versions} | {flexible} | {other} |")
    return "".join(f"{line}\n" for line in lines)


def test_the_table_of_versions_is_that_of_the_code() -> None:
    page = (ROOT / "docs" / "WIRE.md").read_text(encoding="utf-8")
    shown = page.split(BEGIN)[1].split(END)[0]
    assert shown == table(), f"put this between the markers:\n{table()}"
