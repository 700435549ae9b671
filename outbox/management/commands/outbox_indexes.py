"""Create the MongoDB indexes that the outbox and the repositories need."""

from typing import Any

from outbox.discovery import messaging, subscribers
from outbox.indexes import ensure_indexes
from outbox.management.base import OutboxCommand


class Command(OutboxCommand):
    help = (
        "Create the MongoDB indexes that the outbox and the repositories need. Safe to repeat: "
        "what is there is left alone. `migrate` does the same."
    )
    examples = ("outbox_indexes",)

    def handle(self, *args: Any, **options: Any) -> None:
        for name in ensure_indexes(messaging().repositories, subscribers()):
            self.stdout.write(name)
