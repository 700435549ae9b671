"""Publish what is due, once: the sweep without Celery."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from outbox.discovery import relays
from outbox.errors import BrokerUnavailable, MissingIndex, StoreUnavailable


class Command(BaseCommand):
    help = "Publish what is due in every collection, once, as the Celery task does on beat."

    def handle(self, *args: Any, **options: Any) -> None:
        for relay in relays():
            try:
                published = relay.sweep()
            except (BrokerUnavailable, StoreUnavailable, MissingIndex) as error:
                raise CommandError(str(error)) from error
            self.stdout.write(f"{relay.collection}: {published} published")
