"""Have messages that the broker refused tried again at once."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from outbox import stuck
from outbox.errors import MissingIndex, NoSuchMessage, StoreUnavailable
from outbox.management.operator import operator


class Command(BaseCommand):
    help = (
        "Have pending messages published at once that wait because the broker refused them; with "
        "--dry-run, list them and say why. Example: manage.py outbox_retry --all --dry-run"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("ids", nargs="*", metavar="EVENT_ID", help="these messages")
        parser.add_argument(
            "--stuck", action="store_true", help="all that have failed OUTBOX_STUCK_AFTER times"
        )
        parser.add_argument("--all", action="store_true", help="all that have failed at all")
        parser.add_argument("--dry-run", action="store_true", help="only say which")

    def handle(self, *args: Any, **options: Any) -> None:
        if sum(map(bool, (options["ids"], options["stuck"], options["all"]))) != 1:
            raise CommandError("Name the ids to act on, or give --stuck or --all.")
        try:
            self._retry(**options)
        except (StoreUnavailable, MissingIndex) as error:
            raise CommandError(str(error)) from error

    def _retry(self, ids: list[str], dry_run: bool, **options: Any) -> None:
        if not ids:
            attempts = 1 if options["all"] else None
            if dry_run:
                found = list(stuck.messages(attempts=attempts))
                self._show(found)
                return
            self.stdout.write(
                f"{stuck.retry_all(attempts=attempts, by=operator())} to be tried at once"
            )
            return
        found, failed = [], 0
        for event_id in ids:
            try:
                one = stuck.find(event_id)
                if not dry_run:
                    stuck.retry(one.collection, one.aggregate_id, event_id, by=operator())
                found.append(one)
            except NoSuchMessage as error:
                self.stderr.write(str(error))
                failed += 1
        if dry_run:
            self._show(found)
        else:
            self.stdout.write(f"{len(found)} to be tried at once")
        if failed:
            raise CommandError(f"{failed} could not be tried again.")

    def _show(self, found: list[stuck.Stuck]) -> None:
        for one in found:
            self.stdout.write(f"would retry {one}")
        self.stdout.write(f"{len(found)} would be tried again")
