"""Figures and tables as text."""

from __future__ import annotations

import math


def number(value: float | None, digits: int = 0, unit: str = "") -> str:
    """A figure with thousands separated; a dash where there is none."""
    if value is None or math.isnan(value):
        return "-"
    return f"{value:,.{digits}f}{unit}"


def table(head: list[str], rows: list[list[str]], indent: str = "  ") -> str:
    """Columns: the first to the left, the rest to the right."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    lines = []
    for row in [head, ["-" * width for width in widths], *rows]:
        cells = [row[0].ljust(widths[0])] + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:])]
        lines.append(indent + "  ".join(cells).rstrip())
    return "\n".join(lines)


def markdown(head: list[str], rows: list[list[str]]) -> str:
    """The same as Markdown."""
    ruler = ["---"] + ["---:"] * (len(head) - 1)
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ruler, *rows])
