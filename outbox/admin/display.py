"""Display: values as people read them. What is stored is shown to the last digit, and escaped."""

import json
import re
from datetime import UTC, datetime
from typing import Any

from django.utils.html import format_html
from django.utils.safestring import SafeString

from outbox.conf import conf
from outbox.dead_letters import DEAD, DISCARDED, REPLAYED, REPLAYING
from outbox.envelope import timestamp
from outbox.message_store import Selection

UNITS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))

#: What the pages call the states of messages, waiting events and dead letters.
STATES = {
    "stuck": "stuck",
    "failed": "failed at least once",
    "tried": "tried in vain",
    "untried": "not tried yet",
    DEAD: "dead",
    REPLAYING: "being replayed",
    REPLAYED: "replayed",
    DISCARDED: "discarded",
}

#: What JSON text is made of, but for the white space.
PARTS = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{},:]|[^\s\[\]{},:"]+')
OPENING, CLOSING = ("{", "["), ("}", "]")


def duration(seconds: float) -> str:
    """The two largest units of a length of time: `2 h 5 min`."""
    left, parts = int(abs(seconds)), []
    for unit, length in UNITS:
        if left >= length:
            parts.append(f"{left // length} {unit}")
            left %= length
        elif parts:
            break
    return " ".join(parts[:2]) or "0 s"


def distance(moment: datetime, now: datetime) -> str:
    """How far from now: `5 s ago`, `in 2 min`."""
    seconds = (moment - now).total_seconds()
    return f"in {duration(seconds)}" if seconds > 0 else f"{duration(seconds)} ago"


def next_try(due_at: datetime, now: datetime) -> str:
    """When something is tried again: `next try in 2 min`, `due 5 s ago`."""
    how_far = distance(due_at, now)
    return f"next try {how_far}" if due_at > now else f"due {how_far}"


def failed_attempts(number: int) -> str:
    """How often it was tried in vain, in the words that waiting events have for it too."""
    return f"{number} failed attempt{'s' if number > 1 else ''}"


def failing(due_at: datetime, attempts: int, now: datetime) -> str:
    """How a pending message stands that has failed: `retry in 2 min, 10 failed attempts: stuck`."""
    again = "due again" if due_at <= now else f"retry {distance(due_at, now)}"
    stuck = ": stuck" if attempts >= conf.STUCK_AFTER else ""
    return f"{again}, {failed_attempts(attempts)}{stuck}"


def letter_state(state: str, attempts: int) -> str:
    """What has become of a dead letter, and after how many attempts."""
    return f"{STATES.get(state, state)} after {failed_attempts(attempts)}"


def when(value: datetime) -> str:
    """A time in UTC to the second."""
    return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def moment(value: datetime, now: datetime) -> SafeString:
    """A time in UTC to the second, its distance from now, and the exact time on pointing at it."""
    return format_html(
        '<time datetime="{exact}" title="{exact}">{date}</time>'
        ' <span class="outbox-distance">{distance}</span>',
        exact=timestamp(value),
        date=when(value),
        distance=distance(value, now),
    )


def labelled(label: str, value: Any) -> SafeString:
    """A value in a list, with its name where the screen is too narrow for the list's head."""
    return format_html('<span class="outbox-label">{}: </span>{}', label, value)


def unbroken(value: Any) -> SafeString:
    """A short value in a list: its line isn't broken."""
    return format_html('<span class="outbox-unbroken">{}</span>', value)


def preformatted(text: str) -> SafeString:
    """A text with its line breaks."""
    return format_html('<pre class="outbox-text">{}</pre>', text)


def folded(summary: str, text: str) -> SafeString:
    """A long text that is unfolded by a click, or by the keyboard."""
    return format_html(
        '<details class="outbox-folded"><summary>{}</summary><pre class="outbox-text">{}</pre>'
        "</details>",
        summary,
        text,
    )


def described(selection: Selection) -> str:
    """What a selection is of, in words: `topic orders, state stuck`; `all` if it is of all."""
    parts = [
        f"{label} {value}"
        for label, value in (
            ("topic", selection.topic),
            ("type", selection.type),
            ("state", selection.state and STATES.get(selection.state, selection.state)),
            ("subscriber", selection.subscriber),
            ("error", selection.error_type),
            ("aggregate", selection.aggregate_id),
        )
        if value is not None
    ]
    if selection.since is not None:
        parts.append(f"since {when(selection.since)}")
    if selection.until is not None:
        parts.append(f"before {when(selection.until)}")
    if selection.term:
        parts.append(f"found by “{selection.term}”")
    return ", ".join(parts) or "all"


def json_text(text: str) -> str:
    """JSON text, indented. Moves only what is between the tokens; text that isn't JSON stays."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return text
    lines, depth, before = [""], 0, ""
    for part in PARTS.findall(text):
        depth -= part in CLOSING
        breaks = part in CLOSING or before in OPENING or before == ","
        if breaks and before + part not in ("{}", "[]"):
            lines.append("  " * depth)
        lines[-1] += ": " if part == ":" else part
        depth += part in OPENING
        before = part
    return "\n".join(lines)


def json_value(value: Any) -> str:
    """A value as indented JSON."""
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)
