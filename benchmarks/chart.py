"""A chart of a run that was kept: `python -m benchmarks.chart benchmarks.json chart.svg`."""

import argparse
import json
import math
from html import escape
from pathlib import Path

ROW, LEFT, WIDTH, FULL = 22, 400, 900, 2.0
BARS = WIDTH - LEFT - 80

#: Light and dark, as the reader's system has it; with a background of its own in both.
STYLE = """
.paper { fill: #fff } text { fill: #222 } .bar { fill: #417690 } .floor { stroke: #b00 }
@media (prefers-color-scheme: dark) {
  .paper { fill: #181c20 } text { fill: #ddd } .bar { fill: #6fa8c6 } .floor { stroke: #ff7b72 }
}"""


def svg(found):
    """A bar for each ratio; the line is where it is 1.

    Latencies are so far apart that their bars are as long as the ratios' logarithms.
    """
    rows = found["results"]
    latencies = [one for one in rows if one["name"].startswith("commit to stream")]
    faster = [one for one in rows if one["unit"].endswith("/s")]
    slower = [one for one in rows if one not in faster and one not in latencies]
    lines, y = [], 8
    for title, part, scale in (
        ("So many a second, as a multiple of the floor: more is better", faster, _linear),
        ("Time or memory, as a multiple of the floor: less is better", slower, _linear),
        (
            "Latency, likewise, drawn by its logarithm: less is better",
            latencies,
            _logarithm,
        ),
    ):
        if part:
            lines += _part(title, part, y, scale)
            y += ROW * (len(part) + 2)
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


def _linear(ratio):
    """Of the width that there is for bars, how much this ratio's takes."""
    return min(ratio / FULL, 1.0)


def _logarithm(ratio):
    # From a tenth to a thousand.
    return min(max(math.log10(ratio * 10) / 4, 0.0), 1.0)


def _part(title, rows, top, scale):
    yield f'<text x="12" y="{top + 14}" font-weight="bold">{escape(title)}</text>'
    for number, one in enumerate(rows, 1):
        y, ratio = top + ROW * number, one["ratio"]
        end = LEFT + scale(ratio) * BARS
        yield f'<text x="{LEFT - 8}" y="{y + 12}" text-anchor="end">{escape(one["name"])}</text>'
        yield f'<path class="bar" d="M{LEFT} {y}H{end:.0f}v{ROW - 7}H{LEFT}z"/>'
        yield f'<text x="{WIDTH - 12}" y="{y + 12}" text-anchor="end">{ratio:.2f}</text>'
    x, bottom = LEFT + scale(1.0) * BARS, top + ROW * (len(rows) + 1)
    yield f'<path class="floor" d="M{x:.0f} {top + ROW - 4}V{bottom}" stroke-dasharray="4 3"/>'
    words = "1.00: the floor, or what is behind the “/”"
    yield f'<text x="{x:.0f}" y="{bottom + 12}" text-anchor="middle">{words}</text>'


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chart", description=__doc__)
    parser.add_argument("figures", type=argparse.FileType())
    parser.add_argument("chart", type=Path)
    options = parser.parse_args()
    options.chart.write_text(svg(json.load(options.figures)))
