"""A chart of a run that was kept: `python -m benchmarks.chart benchmarks.json chart.svg`."""

import json
import sys
from html import escape
from pathlib import Path

ROW, LEFT, WIDTH, FULL = 22, 400, 900, 2.0
UNIT = (WIDTH - LEFT - 70) / FULL

#: Light and dark, as the reader's system has it; with a background of its own in both.
STYLE = """
.paper { fill: #fff } text { fill: #222 } .bar { fill: #417690 } .floor { stroke: #b00 }
@media (prefers-color-scheme: dark) {
  .paper { fill: #181c20 } text { fill: #ddd } .bar { fill: #6fa8c6 } .floor { stroke: #ff7b72 }
}"""


def svg(found):
    """A bar for each ratio; the line is where ours takes as long, or does as much, as the floor.

    A bar that would be longer than `FULL` is cut off there; its figure has an arrow.
    """
    faster = [one for one in found["results"] if one["unit"].endswith("/s")]
    slower = [one for one in found["results"] if one not in faster]
    lines, y = [], 8
    for title, rows in (
        ("So many a second, as a multiple of the floor: more is better", faster),
        ("Time or memory, as a multiple of the floor: less is better", slower),
    ):
        if rows:
            lines += _part(title, rows, y)
            y += ROW * (len(rows) + 2)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" '
            'font-family="system-ui, sans-serif" font-size="12" role="img">',
            "<title>Ours against the floor, as ratios</title>",
            f"<style>{STYLE}\n</style>",
            f'<rect class="paper" width="{WIDTH}" height="{y}"/>',
            *lines,
            "</svg>\n",
        ]
    )


def _part(title, rows, top):
    yield f'<text x="12" y="{top + 14}" font-weight="bold">{escape(title)}</text>'
    for number, one in enumerate(rows, 1):
        y, ratio = top + ROW * number, one["ratio"]
        end = LEFT + min(ratio, FULL) * UNIT
        figure = f"{ratio:.2f}" if ratio <= FULL else f"→ {ratio:.2f}"
        yield f'<text x="{LEFT - 8}" y="{y + 12}" text-anchor="end">{escape(one["name"])}</text>'
        yield f'<path class="bar" d="M{LEFT} {y}H{end:.0f}v{ROW - 7}H{LEFT}z"/>'
        yield f'<text x="{WIDTH - 12}" y="{y + 12}" text-anchor="end">{figure}</text>'
    x, bottom = LEFT + UNIT, top + ROW * (len(rows) + 1)
    yield f'<path class="floor" d="M{x:.0f} {top + ROW - 4}V{bottom}" stroke-dasharray="4 3"/>'
    yield f'<text x="{x:.0f}" y="{bottom + 12}" text-anchor="middle">the floor: 1.00</text>'


if __name__ == "__main__":
    source, target = map(Path, sys.argv[1:])
    target.write_text(svg(json.loads(source.read_text())))
