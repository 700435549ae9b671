"""A chart of a run that was kept: `python -m benchmarks.chart benchmarks.json chart.svg`."""

import json
import sys
from html import escape
from pathlib import Path

ROW, LEFT, WIDTH, FULL = 22, 430, 900, 2.0


def svg(found):
    """A bar for each ratio; the line is where ours takes as long, or does as much, as the floor."""
    rows = [one for one in found["results"] if one["ratio"] <= 4]
    height = ROW * len(rows) + 40
    scale = (WIDTH - LEFT - 60) / FULL
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        'font-family="system-ui, sans-serif" font-size="12" role="img">',
        "<title>Ours against the floor, as ratios</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
    ]
    for number, one in enumerate(rows):
        y, length = ROW * number + 10, min(one["ratio"], FULL) * scale
        lines += [
            f'<text x="{LEFT - 8}" y="{y + 12}" text-anchor="end">{escape(one["name"])}</text>',
            f'<rect x="{LEFT}" y="{y}" width="{length:.0f}" height="{ROW - 7}" fill="#417690"/>',
            f'<text x="{LEFT + length + 6:.0f}" y="{y + 12}">{one["ratio"]:.2f}</text>',
        ]
    x = LEFT + scale
    lines += [
        f'<path d="M{x:.0f} 4V{height - 22}" stroke="#b00" stroke-dasharray="4 3"/>',
        f'<text x="{x:.0f}" y="{height - 8}" text-anchor="middle">the floor</text>',
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    source, target = map(Path, sys.argv[1:])
    target.write_text(svg(json.loads(source.read_text())))
