"""Moments: the times that commands are told, absolute or how long ago."""

import re
from datetime import UTC, datetime, timedelta

from django.core.management.base import CommandError

from outbox import message_store

UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}

#: What the options' help says.
TIME = "ISO 8601 (UTC unless it says otherwise), a date, or how long ago: 30m, 2h, 7d"


def moment(text: str | None) -> datetime | None:
    """The time that a text names, by the server's clock if it is how long ago.

    Raises `CommandError`, and `StoreUnavailable`.
    """
    if text is None:
        return None
    try:
        if ago := re.fullmatch(r"(\d+)([smhdw])", text):
            return message_store.now() - timedelta(**{UNITS[ago[2]]: int(ago[1])})
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise CommandError(f"{text!r} is no time: give {TIME}.") from None
