"""Charts: numbers over time as small SVG, in the colours of the admin's light and dark mode.

Each has a title and a description in words for those who don't see it; pointing at a slot names its
numbers. No scripts and no styles in them: `overview.css` gives the classes their colours.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from django.utils.html import escape, format_html, format_html_join
from django.utils.safestring import SafeString

#: Of the whole and of the part that is drawn on, in the units of the view box.
WIDTH, HEIGHT = 320, 96
TOP, BOTTOM = 16, 78

Wording = Callable[[float], str]
Values = Sequence[float | None]


class Axis(NamedTuple):
    """The slots of time, each in words, and in words where they begin and end: "an hour ago"."""

    slots: Sequence[str]
    since: str
    until: str = "now"


class Line(NamedTuple):
    """A named line; its `kind` is a class of the style sheet. None is where there is nothing."""

    name: str
    kind: str
    values: Values


def bars(
    key: str, title: str, axis: Axis, values: Sequence[float], kind: str, worded: Wording
) -> SafeString:
    """A bar for each slot. `key` is the chart's id in the page; `worded` says a value in words."""
    most, width = max(values, default=0) or 1, WIDTH / max(1, len(values))
    drawn = "".join(
        _slot(
            number * width,
            width,
            f"{when}: {worded(value)}",
            f'<rect class="outbox-bar" x="{number * width + 0.5:.1f}"'
            f' y="{_height(value, most):.1f}" width="{max(width - 1, 1):.1f}"'
            f' height="{BOTTOM - _height(value, most):.1f}"/>',
        )
        for number, (when, value) in enumerate(zip(axis.slots, values, strict=True))
    )
    drawn = format_html('<g class="outbox-{}">{}</g>', kind, SafeString(drawn))
    return _frame(key, title, axis, drawn, *_bars_in_words(axis, values, worded))


def lines(key: str, title: str, axis: Axis, several: Sequence[Line], worded: Wording) -> SafeString:
    """Lines over the slots, which end where there is nothing. Otherwise as `bars`."""
    known = [value for line in several for value in line.values if value is not None]
    most, width = max(known, default=0) or 1, WIDTH / max(1, len(axis.slots))
    paths = format_html_join(
        "",
        '<path class="outbox-line outbox-{}" d="{}"/>',
        ((line.kind, _path(line.values, width, most)) for line in several),
    )
    pointed = "".join(
        _slot(number * width, width, f"{when}: {said}")
        for number, when in enumerate(axis.slots)
        if (said := _at(several, number, worded))
    )
    description = " ".join(_line_in_words(line, axis, worded) for line in several)
    scale = f"at most {worded(max(known))}" if known else "nothing in this time"
    return _frame(key, title, axis, paths + SafeString(pointed), scale, description)


def _frame(
    key: str, title: str, axis: Axis, drawn: SafeString, scale: str, description: str
) -> SafeString:
    return format_html(
        '<svg class="outbox-chart" viewBox="0 0 {width} {height}" role="img"'
        ' aria-labelledby="{key}-title {key}-desc">'
        '<title id="{key}-title">{title}</title><desc id="{key}-desc">{description}</desc>'
        '<text x="0" y="10">{scale}</text>{drawn}'
        '<line class="outbox-axis" x1="0" y1="{bottom}" x2="{width}" y2="{bottom}"/>'
        '<text x="0" y="92">{since}</text>'
        '<text x="{width}" y="92" text-anchor="end">{until}</text></svg>',
        width=WIDTH,
        height=HEIGHT,
        bottom=BOTTOM,
        key=key,
        title=title,
        description=description,
        scale=scale,
        drawn=drawn,
        since=axis.since,
        until=axis.until,
    )


def _slot(x: float, width: float, said: str, drawn: str = "") -> str:
    """A slot that says its numbers when it is pointed at. Built as text: there are hundreds."""
    return (
        f'<g><title>{escape(said)}</title><rect class="outbox-slot" x="{x:.1f}" y="{TOP}"'
        f' width="{width:.1f}" height="{BOTTOM - TOP}"/>{drawn}</g>'
    )


def _bars_in_words(axis: Axis, values: Sequence[float], worded: Wording) -> tuple[str, str]:
    """The scale, and the description."""
    if not any(values):
        return "none in this time", "None in this time."
    most = max(values)
    when = axis.slots[list(values).index(most)]
    return (
        f"at most {worded(most)}",
        f"{sum(values):,.0f} in all; at most {worded(most)}, {when}; {worded(values[-1])} in the "
        "last, which isn't over.",
    )


def _line_in_words(line: Line, axis: Axis, worded: Wording) -> str:
    known = [
        (value, when)
        for value, when in zip(line.values, axis.slots, strict=True)
        if value is not None
    ]
    if not known:
        return f"{line.name}: nothing in this time."
    most, when = max(known)
    return f"{line.name}: at most {worded(most)}, {when}; {worded(known[-1][0])} at last."


def _at(several: Sequence[Line], number: int, worded: Wording) -> str:
    values = ((line.name, line.values[number]) for line in several)
    return ", ".join(f"{name} {worded(value)}" for name, value in values if value is not None)


def _path(values: Values, width: float, most: float) -> str:
    """From value to value; one that stands alone is a dot."""
    steps, before = [], None
    for number, value in enumerate(values):
        if value is not None:
            point = f"{(number + 0.5) * width:.1f} {_height(value, most):.1f}"
            alone = number + 1 == len(values) or values[number + 1] is None
            dot = "h0" if before is None and alone else ""
            steps.append(f"{'M' if before is None else 'L'}{point}{dot}")
        before = value
    return "".join(steps)


def _height(value: float, most: float) -> float:
    """Where on the drawing a value lies; what isn't nothing can be seen."""
    return BOTTOM - max((BOTTOM - TOP) * value / most, 1 if value else 0)
