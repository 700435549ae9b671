"""Give pending messages up for good; a tombstone is published in the place of each."""

from functools import partial
from typing import Any

from django.core.management.base import CommandError, CommandParser

from outbox import operations
from outbox.management import acting, pending_text
from outbox.management.base import OutboxCommand
from outbox.management.operator import add_user
from outbox.management.selecting import add_filters, one_way, selection


class Command(OutboxCommand):
    help = (
        "Give up pending messages for good: a tombstone takes the place of each, so that consumers "
        "don't wait for its number; the message is kept in outbox_discarded."
    )
    examples = ('outbox_discard --stuck --type OrderPaid --reason "bug 17" --dry-run',)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("ids", nargs="*", metavar="EVENT_ID", help="these messages")
        parser.add_argument(
            "--stuck", action="store_true", help="all that have failed OUTBOX_STUCK_AFTER times"
        )
        add_filters(parser, "topic", "type")
        parser.add_argument("--reason", required=True, help="why, for whoever asks")
        parser.add_argument("--dry-run", action="store_true", help="only say which")
        add_user(parser)

    def handle(
        self, *args: Any, ids: list[str], reason: str, dry_run: bool, **options: Any
    ) -> None:
        if not reason.strip():
            raise CommandError("Give a reason: somebody will want to know.")
        one_way(ids, options, ("stuck",), ("topic", "type"))
        chosen = ids or selection(options, "topic", "type", state="stuck")
        if dry_run:
            pending_text.show(self, chosen, "discard", "discarded")
            return
        done = acting.act(
            self,
            "pending",
            chosen,
            partial(operations.discard, reason=reason),
            "Discarded",
            user=options["user"],
            reason=reason,
        )
        self.stdout.write(f"{done.count} discarded")
        acting.tell_missed(self, "pending", chosen, done, "discarded")
