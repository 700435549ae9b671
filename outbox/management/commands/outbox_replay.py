"""Publish messages of the archive again."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from outbox import message_store
from outbox.envelope import timestamp
from outbox.errors import OutboxError
from outbox.message_store import DispatchedMessage
from outbox.replay import Selection, preview, replay

UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}

TIME = "ISO 8601 (UTC unless it says otherwise), a date, or how long ago: 30m, 2h, 7d"


class Command(BaseCommand):
    help = (
        "Publish messages of the archive again, with their own ids and numbers: subscribers that "
        "have handled them pass over them, others catch up. Only shows what it would do unless "
        "told to --execute. Example: manage.py outbox_replay --topic orders --since 2h --execute"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--aggregate", metavar="ID", help="of this aggregate only")
        parser.add_argument("--type", help="of this type only, e.g. OrderPlaced")
        parser.add_argument("--topic", help="of this topic only")
        parser.add_argument("--since", metavar="TIME", help=f"that occurred then or later: {TIME}")
        parser.add_argument("--until", metavar="TIME", help="that occurred before then: likewise")
        parser.add_argument("--all", action="store_true", help="all that the archive has")
        parser.add_argument("--to", metavar="TOPIC", help="publish to another topic; needs --topic")
        parser.add_argument("--execute", action="store_true", help="do it")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            selection = _selection(**options)
            found = preview(selection, to=options["to"])
            if not found.total:
                self.stdout.write(
                    "Nothing in the archive matches; it keeps messages for OUTBOX_RETENTION."
                )
            elif options["execute"]:
                self._execute(selection, options["to"], found.total)
            else:
                self._show(found.total, found.samples)
        except OutboxError as error:
            raise CommandError(str(error)) from error

    def _show(self, total: int, samples: list[DispatchedMessage]) -> None:
        self.stdout.write(f"{total:,} messages would be published again, the oldest:")
        for one in samples:
            self.stdout.write(
                f"  {timestamp(one.occurred_at)}  {one.type}, number {one.sequence} of "
                f"{one.aggregate_id} in {one.topic}  {one.event_id}"
            )
        self.stdout.write("Nothing was published: give --execute to do it.")

    def _execute(self, selection: Selection, to: str | None, total: int) -> None:
        shows = self.stderr.isatty()

        def progress(published: int) -> None:
            part = min(1.0, published / total)
            bar = f"[{'#' * round(part * 30):30}] {part:4.0%}  {published:,} of {total:,}"
            self.stderr.write(f"\r{bar}", style_func=str, ending="")
            self.stderr.flush()

        try:
            done = replay(selection, to=to, progress=progress if shows else lambda published: None)
        finally:
            if shows:
                self.stderr.write("", style_func=str)
        self.stdout.write(
            f"{done.published:,} messages published again; their metadata says "
            f'"replay": "{done.replay}".'
        )


def _selection(
    aggregate: str | None,
    type: str | None,
    topic: str | None,
    since: str | None,
    until: str | None,
    **options: Any,
) -> Selection:
    """What the options select. Raises `CommandError`, and `StoreUnavailable`."""
    given = any(one is not None for one in (aggregate, type, topic, since, until))
    if given == options["all"]:
        raise CommandError("Say which messages to replay, or --all for all of them.")
    first, last = _moment(since), _moment(until)
    if first and last and first >= last:
        raise CommandError(f"No event occurs since {since} and until {until}.")
    return Selection(aggregate_id=aggregate, type=type, topic=topic, since=first, until=last)


def _moment(text: str | None) -> datetime | None:
    """The time that a text names, by the server's clock if it is how long ago."""
    if text is None:
        return None
    try:
        if ago := re.fullmatch(r"(\d+)([smhdw])", text):
            return message_store.now() - timedelta(**{UNITS[ago[2]]: int(ago[1])})
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise CommandError(f"{text!r} is no time: give {TIME}.") from None
