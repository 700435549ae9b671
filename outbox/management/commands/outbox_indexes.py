"""Create the MongoDB indexes that the outbox and the repositories need."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from outbox.discovery import messaging, subscribers
from outbox.errors import StoreUnavailable
from outbox.indexes import ensure_indexes


class Command(BaseCommand):
    help = (
        "Create the MongoDB indexes that the outbox and the repositories need. Safe to repeat: "
        "what is there is left alone. `migrate` does the same."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            names = ensure_indexes(messaging().repositories, subscribers())
        except StoreUnavailable as error:
            raise CommandError(str(error)) from error
        for name in names:
            self.stdout.write(name)
