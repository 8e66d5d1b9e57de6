"""Rows of the table: kstore beside Kafka and beside a limit, in one unit, with the goals for both ratios.

Pure data, text, JSON and a picture. A ratio is the median over the rounds of what kstore and the other came to in the
same round: they take turns, so that a busy neighbour meets both.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.support import table

HEADINGS = ("what", "durability", "limit", "Kafka", "kstore", "of Kafka", "goal", "", "of limit", "goal", "", "note")
MORE = "more"
LESS = "less"


@dataclass(slots=True)
class Row:
    """One measurement of all who take part; lists are by round, empty for who does not."""

    section: str
    what: str
    unit: str
    kstore: list[float]
    kafka: list[float] = field(default_factory=list)
    limit: list[float] = field(default_factory=list)
    better: str = MORE
    durability: str = ""
    """What was on the medium when a produce was answered, for kstore and Kafka."""
    limit_name: str = ""
    kafka_goal: float | None = None
    """kstore over Kafka is to be at least this, or at most where less is better."""
    limit_goal: float | None = None
    note: str = ""
    cpu: dict[str, float] = field(default_factory=dict)
    """Processor seconds of each broker for a unit of work of the row, where that was taken."""

    @property
    def kafka_ratio(self) -> float | None:
        """kstore over Kafka."""
        return _ratio(self.kstore, self.kafka)

    @property
    def limit_ratio(self) -> float | None:
        """kstore over the limit."""
        return _ratio(self.kstore, self.limit)

    def met(self, ratio: float | None, goal: float | None) -> bool | None:
        """Whether a ratio meets its goal; None where there is nothing to say."""
        if ratio is None or goal is None:
            return None
        return ratio >= goal if self.better == MORE else ratio <= goal

    def as_json(self) -> dict[str, Any]:
        """Every field, both ratios, and whether they meet their goals."""
        return {
            **asdict(self),
            "kafka_ratio": self.kafka_ratio,
            "kafka_met": self.met(self.kafka_ratio, self.kafka_goal),
            "limit_ratio": self.limit_ratio,
            "limit_met": self.met(self.limit_ratio, self.limit_goal),
        }


def _ratio(ours: Sequence[float], theirs: Sequence[float]) -> float | None:
    pairs = [(mine, other) for mine, other in zip(ours, theirs, strict=False) if other]
    return statistics.median(mine / other for mine, other in pairs) if pairs else None


def amount(values: Sequence[float], unit: str) -> str:
    """The median of the rounds, with three digits."""
    if not values:
        return ""
    value = statistics.median(values)
    if unit == "MB/s" and value >= 1000:
        return f"{value / 1000:.3g} GB/s"
    for size, prefix in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g} {prefix}{unit}"
    return f"{value:.3g} {unit}"


def cells(row: Row) -> tuple[str, ...]:
    """A row as words."""
    mark = ">=" if row.better == MORE else "<="
    words = {True: "met", False: "MISSED", None: ""}
    limit = amount(row.limit, row.unit)
    return (
        row.what,
        row.durability,
        f"{limit} ({row.limit_name})" if limit else "",
        amount(row.kafka, row.unit),
        amount(row.kstore, row.unit),
        "" if row.kafka_ratio is None else f"{row.kafka_ratio:.3g}x",
        "" if row.kafka_goal is None else f"{mark} {row.kafka_goal:.3g}",
        words[row.met(row.kafka_ratio, row.kafka_goal)],
        "" if row.limit_ratio is None else f"{row.limit_ratio:.3g}x",
        "" if row.limit_goal is None else f"{mark} {row.limit_goal:.3g}",
        words[row.met(row.limit_ratio, row.limit_goal)],
        row.note,
    )


def text(rows: Sequence[Row]) -> str:
    """The table for a terminal."""
    return table.aligned([HEADINGS, *(cells(row) for row in rows)])


def markdown(rows: Sequence[Row]) -> str:
    """The table for the documentation, a ratio with its goal in one cell."""
    headings = ("what", "durability", "limit", "Kafka", "kstore", "kstore / Kafka", "kstore / limit")
    lines = ["| " + " | ".join(headings) + " |", "|" + "---|" * len(headings)]
    for row in rows:
        what, durability, limit, kafka, ours, *judged, note = cells(row)
        ratios = []
        for ratio, goal, verdict in (judged[:3], judged[3:]):
            word = "**missed**" if verdict == "MISSED" else verdict
            ratios.append(f"{ratio} ({goal}: {word})" if goal and ratio else ratio)
        limit = "; ".join(filter(None, (limit, note)))
        lines.append("| " + " | ".join((what, durability, limit, kafka, ours, *ratios)) + " |")
    return "\n".join(lines)


def summary(rows: Sequence[Row]) -> str:
    """One sentence."""
    judged = [
        (row, against, row.met(ratio, goal))
        for row in rows
        for against, ratio, goal in (
            ("Kafka", row.kafka_ratio, row.kafka_goal),
            (row.limit_name, row.limit_ratio, row.limit_goal),
        )
    ]
    met = sum(verdict is True for _, _, verdict in judged)
    missed = [f"{row.what} against {against}" for row, against, verdict in judged if verdict is False]
    return f"{met} goals met, {len(missed)} missed" + (f": {'; '.join(missed)}" if missed else "")


def write_json(path: Path, rows: Sequence[Row], about: dict[str, Any]) -> None:
    """All of it."""
    path.write_text(json.dumps({"machine": about, "rows": [row.as_json() for row in rows]}, indent=1) + "\n")


def draw(path: Path, rows: Sequence[Row], title: str) -> str:
    """Draw kstore over Kafka for every row, and the goal as a tick; returns why not, or an empty string."""
    try:
        import matplotlib

        matplotlib.use("svg")
        from matplotlib import pyplot
    except ImportError as error:
        return f"no picture: {error}"
    shown = [(row, ratio) for row in rows if (ratio := row.kafka_ratio)]
    if not shown:
        return "no picture: nothing was compared with Kafka"
    figure, axes = pyplot.subplots(figsize=(11, 0.3 * len(shown) + 1.4))
    for place, (row, ratio) in enumerate(reversed(shown)):
        times = ratio if row.better == MORE else 1 / ratio
        colour = {True: "#2a7f62", False: "#c44e52", None: "#8c8c8c"}[row.met(ratio, row.kafka_goal)]
        axes.barh(place, times - 1, left=1, color=colour, height=0.7)
        if row.kafka_goal:
            goal = row.kafka_goal if row.better == MORE else 1 / row.kafka_goal
            axes.plot([goal, goal], [place - 0.45, place + 0.45], color="black", linewidth=1.5)
        axes.text(max(times, 1), place, f"  {times:.3g}x", va="center", fontsize=8)
    axes.set_xscale("log")
    axes.axvline(1, color="black", linewidth=1)
    labels = [f"{row.what} ({row.durability})" if row.durability else row.what for row, _ in reversed(shown)]
    axes.set_yticks(range(len(shown)), labels, fontsize=8)
    axes.set_xlim(right=axes.get_xlim()[1] * 1.6)
    axes.set_xlabel("times better than Kafka; a tick is the goal")
    axes.set_title(title, fontsize=10)
    figure.tight_layout()
    figure.savefig(path)
    pyplot.close(figure)
    return ""
