"""Publish messages of the archive again."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from outbox import models
from outbox.envelope import timestamp
from outbox.management.base import OutboxCommand
from outbox.management.moments import TIME, moment
from outbox.management.operator import add_reason, add_user, operator
from outbox.management.progress import progress
from outbox.message_store import DispatchedMessage, Selection
from outbox.replay import preview, replay


class Command(OutboxCommand):
    help = (
        "Publish messages of the archive again, with their own ids and numbers: subscribers that "
        "have handled them pass over them, others catch up. Only shows what it would do unless "
        "told to --execute."
    )
    examples = (
        "outbox_replay --topic orders --since 2h",
        "outbox_replay --topic orders --since 2h --execute",
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--aggregate", metavar="ID", help="of this aggregate only")
        parser.add_argument("--type", help="of this type only, e.g. OrderPlaced")
        parser.add_argument("--topic", help="of this topic only")
        parser.add_argument("--since", metavar="TIME", help=f"that occurred then or later: {TIME}")
        parser.add_argument("--until", metavar="TIME", help="that occurred before then: likewise")
        parser.add_argument("--all", action="store_true", help="all that the archive has")
        parser.add_argument("--to", metavar="TOPIC", help="publish to another topic; needs --topic")
        whether = parser.add_mutually_exclusive_group()
        whether.add_argument("--execute", action="store_true", help="do it")
        whether.add_argument("--dry-run", action="store_true", help="only show it, as without")
        add_reason(parser)
        add_user(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        selection = _selection(**options)
        found = preview(selection, to=options["to"])
        if not found.total:
            self.stdout.write(
                "Nothing in the archive matches; it keeps messages for OUTBOX_RETENTION."
            )
        elif options["execute"]:
            self._execute(selection, found.total, **options)
        else:
            self._show(found.total, found.samples)

    def _show(self, total: int, samples: list[DispatchedMessage]) -> None:
        messages = "message" if total == 1 else "messages"
        self.stdout.write(f"{total:,} {messages} would be published again, the oldest:")
        for one in samples:
            self.stdout.write(
                f"  {timestamp(one.occurred_at)}  {one.type}, number {one.sequence} of "
                f"{one.aggregate_id} in {one.topic}  {one.event_id}"
            )
        self.stdout.write("Nothing was published: give --execute to do it.")

    def _execute(self, selection: Selection, total: int, to: str | None, **options: Any) -> None:
        who = operator(self, options["user"])
        with progress(self.stderr, total) as told:
            done = replay(selection, to=to, progress=told)
        who.log(
            "Replayed",
            models.DispatchedMessage,
            selection,
            (),
            done.published,
            ". ".join(filter(None, (f"To the topic {to}" if to else "", options["reason"]))),
        )
        messages = "message" if done.published == 1 else "messages"
        self.stdout.write(
            f"{done.published:,} {messages} published again; their metadata says "
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
    first, last = moment(since), moment(until)
    if first and last and first >= last:
        raise CommandError(f"No event occurs since {since} and until {until}.")
    return Selection(aggregate_id=aggregate, type=type, topic=topic, since=first, until=last)
