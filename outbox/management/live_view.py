"""The live view: an entry of a stream as a person reads it on a terminal."""

import json
from datetime import UTC, datetime
from typing import Any
from unicodedata import east_asian_width

from outbox.delivery import Delivery
from outbox.envelope import timestamp
from outbox.management.tailing import Tailed


def view(one: Tailed, width: int, colours: Any) -> str:
    """Two lines: when, what, number and whose; then the conversation's id, and the payload."""
    if one.event is None:
        what = colours.ERROR(f"{one.stream} {one.id} can't be read: {visible(one.flaw)}")
        return f"{what}\n  {fitting(visible(one.text), width - 2)}"
    event = one.event
    marks = "".join(f"  {colours.WARNING(mark)}" for mark in _marks(event))
    correlation = visible(str(event.metadata.get("correlationId", "-")))
    payload = visible(json.dumps(event.payload, ensure_ascii=False, default=float))
    return (
        f"{_time(event.occurred_at)}  {colours.MIGRATE_HEADING(visible(event.type))}  "
        f"number {event.sequence} of {colours.SQL_FIELD(visible(event.aggregate_id))}{marks}\n"
        f"  {colours.HTTP_NOT_MODIFIED(correlation)}  "
        f"{fitting(payload, width - len(correlation) - 4)}"
    )


def visible(text: str) -> str:
    """A text without anything that a terminal would obey: whoever wrote the event may be anyone."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def fitting(text: str, width: int) -> str:
    """As much of a text as has room in so many columns; something, however narrow it is."""
    left = max(10, width)
    if len(text) * 2 <= left:
        return text
    for position, character in enumerate(text):
        left -= 2 if east_asian_width(character) in "WF" else 1
        # The last column is the ellipsis', unless the text ends there.
        if left < 0 or (left < 1 and position < len(text) - 1):
            return f"{text[:position]}…"
    return text


def _marks(event: Delivery) -> list[str]:
    marks = ["discarded"] if event.metadata.get("discarded") is True else []
    if "replay" in event.metadata:
        marks.append("replay")
    return [*marks, visible(event.flaw)] if event.flaw else marks


def _time(moment: datetime) -> str:
    """With the date, unless it is today's, in UTC."""
    text = timestamp(moment)
    return text[11:] if moment.date() == datetime.now(UTC).date() else text
