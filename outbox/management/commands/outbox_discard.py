"""Give pending messages up for good; a tombstone is published in the place of each."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from outbox import stuck
from outbox.errors import MissingIndex, NoSuchMessage, StoreUnavailable
from outbox.management.operator import operator


class Command(BaseCommand):
    help = (
        "Give up pending messages for good: a tombstone takes the place of each, so that consumers "
        "don't wait for its number; the message is kept in outbox_discarded. "
        'Example: manage.py outbox_discard 0198c… --reason "nobody may see it"'
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("ids", nargs="+", metavar="EVENT_ID", help="these messages")
        parser.add_argument("--reason", required=True, help="why, for whoever asks")
        parser.add_argument("--dry-run", action="store_true", help="only say which")

    def handle(self, *args: Any, ids: list[str], reason: str, **options: Any) -> None:
        if not reason.strip():
            raise CommandError("Give a reason: somebody will want to know.")
        done = failed = 0
        for event_id in ids:
            try:
                one = stuck.find(event_id)
                if options["dry_run"]:
                    self.stdout.write(f"would discard {one}")
                else:
                    stuck.discard(
                        one.collection, one.aggregate_id, event_id, reason=reason, by=operator()
                    )
                done += 1
            except NoSuchMessage as error:
                self.stderr.write(str(error))
                failed += 1
            except (StoreUnavailable, MissingIndex) as error:
                raise CommandError(f"{error} {done} were discarded before.") from error
        self.stdout.write(f"{done} {'would be ' if options['dry_run'] else ''}discarded")
        if failed:
            raise CommandError(f"{failed} could not be discarded.")
