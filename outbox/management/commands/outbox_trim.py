"""Trim the streams, once: the task without Celery."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from outbox.errors import BrokerUnavailable
from outbox.trimming import trim


class Command(BaseCommand):
    help = (
        "Take from the streams, once, what every group has acknowledged and is older than "
        "OUTBOX_STREAM_RETENTION, as the Celery task does on beat; and say which groups are behind."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            streams = trim()
        except BrokerUnavailable as error:
            raise CommandError(str(error)) from error
        for one in streams:
            self.stdout.write(f"{one.stream}: {one.trimmed} trimmed, {one.length} left")
            if not one.groups:
                self.stdout.write("  nobody reads it, so nothing is trimmed")
            for group in one.behind:
                self.stdout.write(
                    f"  {group.group} is behind: {group.oldest} is not acknowledged for "
                    f"{group.age:.0f} s"
                )
