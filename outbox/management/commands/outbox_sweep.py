"""Publish what is due, once: the sweep without Celery."""

from typing import Any

from outbox.discovery import relays
from outbox.management.base import OutboxCommand


class Command(OutboxCommand):
    help = "Publish what is due in every collection, once, as the Celery task does on beat."
    examples = ("outbox_sweep",)

    def handle(self, *args: Any, **options: Any) -> None:
        for relay in relays():
            self.stdout.write(f"{relay.collection}: {relay.sweep()} published")
