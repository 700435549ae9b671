"""A dead letter in words."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from outbox.dead_letter_listing import DEAD, REPLAYING, DeadLetter
from outbox.discovery import messaging
from outbox.envelope import timestamp
from outbox.management.live_view import visible


def short(one: DeadLetter) -> str:
    """Two lines: which it is, and why."""
    return (
        f"{visible(one.key)}  {timestamp(one.failed_at)}  {_what(one)}\n"
        f"    {one.attempts} x {visible(one.error)}"
    )


def in_full(one: DeadLetter, colours: Any) -> Iterator[str]:
    """All that is known of it, and what can be done."""
    rows = {
        "event": _what(one),
        "event id": one.event_id,
        "conversation": one.correlation_id,
        "subscriber": one.subscriber,
        "on the stream": one.stream,
        "state": one.state,
        "attempts": str(one.attempts),
        "failed first": timestamp(one.first_failed_at),
        "failed last": timestamp(one.failed_at),
        "dealt with": timestamp(one.closed_at) if one.closed_at else "",
        "by": one.closed_by,
        "reason": one.reason,
    }
    yield colours.MIGRATE_HEADING(visible(one.key))
    yield from (f"{name:<14} {visible(value)}" for name, value in rows.items() if value)
    yield ""
    yield colours.ERROR(visible(one.error))
    yield from (visible(line) for line in one.traceback.splitlines())
    yield ""
    yield colours.MIGRATE_HEADING("payload")
    yield from (visible(line) for line in _pretty(one.payload).splitlines())
    yield ""
    yield from _what_to_do(one)


def as_json(one: DeadLetter) -> str:
    """All that is known of it, on one line."""
    fields = asdict(one)
    return json.dumps({"_id": fields.pop("key"), **fields}, default=str, ensure_ascii=False)


def _what(one: DeadLetter) -> str:
    if not one.type:
        return "unreadable"
    return visible(f"{one.type}, number {one.sequence} of {one.aggregate_id}")


def _pretty(payload: str) -> str:
    try:
        return json.dumps(json.loads(payload), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return payload


def _what_to_do(one: DeadLetter) -> Iterator[str]:
    if one.state == REPLAYING:
        yield f"It waits for a consumer of {one.subscriber} to try it again."
    if one.state not in (DEAD, REPLAYING):
        yield "There is nothing to do about it any more."
    elif one.state == DEAD and one.type and one.subscriber in messaging().subscribes:
        yield f"When the handler is mended:  manage.py outbox_dead_letters replay '{one.key}'"
    if one.state in (DEAD, REPLAYING):
        yield (
            "To give it up for good:      "
            f"manage.py outbox_dead_letters discard '{one.key}' --reason \"…\""
        )
