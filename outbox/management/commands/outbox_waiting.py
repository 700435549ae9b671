"""Waiting events: list what subscribers couldn't handle yet, and will try again."""

import json
from dataclasses import asdict, replace
from typing import Any

from django.core.management.base import CommandParser

from outbox import message_store, waiting
from outbox.diagnosis import seconds_in_words
from outbox.discovery import subscribers
from outbox.management import status_text
from outbox.management.base import OutboxCommand
from outbox.management.live_view import visible
from outbox.management.selecting import add_filters, selection
from outbox.management.status_text import LEFT, RIGHT
from outbox.waiting import WaitingEvent

FILTERS = ("subscriber", "type", "topic", "since")

COLUMNS = (
    ("subscriber", LEFT),
    ("topic", LEFT),
    ("event", LEFT),
    ("number", RIGHT),
    ("of aggregate", LEFT),
    ("waits for", RIGHT),
    ("next try", LEFT),
    ("state", LEFT),
)


class Command(OutboxCommand):
    help = (
        "List the events that subscribers have put aside: those that they failed on or died of and "
        "will try again, and those that wait for one before them. What has waited the longest "
        "comes first. Nothing is to be done to them: they are tried again by themselves, and "
        "become dead letters in the end (outbox_dead_letters)."
    )
    examples = ("outbox_waiting --tried --subscriber letters", "outbox_waiting --json")

    def add_arguments(self, parser: CommandParser) -> None:
        add_filters(parser, *FILTERS)
        parser.add_argument(
            "--tried", action="store_true", help="only those that have been tried in vain"
        )
        parser.add_argument("--aggregate", metavar="ID", help="of this aggregate only")
        parser.add_argument("--limit", type=int, default=100, help="at most so many (100)")
        parser.add_argument("--json", action="store_true", help="a JSON object a line")

    def handle(self, *args: Any, **options: Any) -> None:
        chosen = selection(options, *FILTERS, state="tried" if options["tried"] else None)
        if options["aggregate"]:
            chosen = replace(chosen, aggregate_id=options["aggregate"])
        found = waiting.messages(chosen, limit=options["limit"])
        # One that is no longer declared may have left some.
        if (name := options["subscriber"]) and not found.messages:
            subscribers([name])
        if options["json"]:
            for one in found.messages:
                self.stdout.write(_as_json(one))
            return
        if found.messages:
            self.stdout.write("\n".join(self._table(found.messages)))
        number, or_more = len(found.messages), found.has_more or found.partial
        events = "event" if number == 1 and not or_more else "events"
        self.stdout.write(f"{number}{' or more' if or_more else ''} waiting {events}")

    def _table(self, found: list[WaitingEvent]) -> list[str]:
        now = message_store.now()
        rows = [
            (
                one.subscriber,
                one.topic,
                visible(one.type),
                f"{one.sequence}",
                visible(one.aggregate_id),
                seconds_in_words(max(0.0, (now - one.since).total_seconds())),
                _from_now((one.due_at - now).total_seconds()) if one.attempts else "-",
                visible(f"{one.fate}: {one.error}" if one.error else one.fate),
            )
            for one in found
        ]
        return list(status_text.table(COLUMNS, rows, self.colours))


def _from_now(seconds: float) -> str:
    return f"in {seconds_in_words(seconds)}" if seconds > 0 else "due"


def _as_json(one: WaitingEvent) -> str:
    fields = {name: value for name, value in asdict(one).items() if name != "text"}
    fields = {"_id": fields.pop("key"), **fields, "fate": one.fate}
    return json.dumps(status_text.plain(fields), ensure_ascii=False)
