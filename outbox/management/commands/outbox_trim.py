"""Trim the streams, once: the task without Celery."""

from typing import Any

from django.core.management.base import CommandParser

from outbox.management.base import OutboxCommand
from outbox.trimming import STEP, trim


class Command(OutboxCommand):
    help = (
        "Take from the streams, once, what every group has acknowledged and is older than "
        "OUTBOX_STREAM_RETENTION, as the Celery task does on beat; and say which groups are behind."
    )
    examples = ("outbox_trim --dry-run",)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="only say how many, and who")

    def handle(self, *args: Any, dry_run: bool, **options: Any) -> None:
        for one in trim(dry_run=dry_run):
            if dry_run:
                least = "at least " if one.trimmed == STEP else ""
                self.stdout.write(
                    f"{one.stream}: {least}{one.trimmed} of {one.length} would be trimmed"
                )
            else:
                self.stdout.write(f"{one.stream}: {one.trimmed} trimmed, {one.length} left")
            if not one.groups:
                self.stdout.write("  nobody reads it, so nothing is trimmed")
            for group in one.behind:
                self.stdout.write(
                    f"  {group.group} is behind: {group.oldest} is not acknowledged for "
                    f"{group.age:.0f} s"
                )
