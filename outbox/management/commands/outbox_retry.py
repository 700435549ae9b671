"""Have messages that the broker refused tried again at once."""

from typing import Any

from django.core.management.base import CommandParser

from outbox import operations
from outbox.management import acting, pending_text
from outbox.management.base import OutboxCommand
from outbox.management.operator import add_reason, add_user
from outbox.management.selecting import add_filters, one_way, selection


class Command(OutboxCommand):
    help = (
        "Have pending messages published at once that wait because the broker refused them; with "
        "--dry-run, list them and say why."
    )
    examples = ("outbox_retry --all --dry-run", "outbox_retry --stuck --topic orders")

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("ids", nargs="*", metavar="EVENT_ID", help="these messages")
        parser.add_argument(
            "--stuck", action="store_true", help="all that have failed OUTBOX_STUCK_AFTER times"
        )
        parser.add_argument("--all", action="store_true", help="all that have failed at all")
        add_filters(parser, "topic", "type")
        parser.add_argument("--dry-run", action="store_true", help="only say which")
        add_reason(parser)
        add_user(parser)

    def handle(self, *args: Any, ids: list[str], dry_run: bool, **options: Any) -> None:
        one_way(ids, options, ("stuck", "all"), ("topic", "type"))
        state = "stuck" if options["stuck"] else "failed"
        chosen = ids or selection(options, "topic", "type", state=state)
        if dry_run:
            pending_text.show(self, chosen, "retry", "tried again")
            return
        by = {"user": options["user"], "reason": options["reason"]}
        done = acting.act(self, "pending", chosen, operations.retry, "Retried", **by)
        self.stdout.write(f"{done.count} to be tried at once")
        acting.tell_missed(self, "pending", chosen, done, "tried again")
