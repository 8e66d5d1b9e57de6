"""Draws the rows: one bar each, how far above or below its floor, on a logarithmic scale. Needs matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.support.rows import Row


def draw(path: Path, rows: Sequence[Row], title: str) -> str:
    """Write the picture; returns why not, or an empty string."""
    try:
        import matplotlib

        matplotlib.use("svg")
        from matplotlib import pyplot
    except ImportError as error:
        return f"no picture: {error}"
    shown = [row for row in rows if row.score is not None]
    if not shown:
        return "no picture: no row with a floor"
    figure, axes = pyplot.subplots(figsize=(11, 0.34 * len(shown) + 1.4))
    for place, row in enumerate(reversed(shown)):
        score = row.score or 1.0
        axes.barh(place, score - 1, left=1, color="#2a7f62" if row.met else "#c44e52", height=0.7)
        mark = ">=" if row.sense == "speed" else "<="
        axes.text(max(score, 1), place, f"  {row.ratio:.3g}x ({mark} {row.floor:g})", va="center", fontsize=8)
    axes.set_xscale("log")
    axes.axvline(1, color="black", linewidth=1)
    axes.set_yticks(range(len(shown)), [f"{r.goal}  {r.what} : {r.against}" for r in reversed(shown)], fontsize=8)
    low, high = min(r.score or 1 for r in shown), max(r.score or 1 for r in shown)
    axes.set_xlim(min(0.6, low * 0.8), high * 2.5)
    axes.set_xlabel("ratio over its floor (right of the line: met)")
    axes.set_title(title, fontsize=10)
    figure.tight_layout()
    figure.savefig(path)
    pyplot.close(figure)
    return ""
