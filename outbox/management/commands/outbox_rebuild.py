"""Rebuild a projection's read model from the history, while everything runs."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from outbox.discovery import messaging, subscribers
from outbox.errors import OutboxError
from outbox.rebuild import rebuild


class Command(BaseCommand):
    help = (
        "Build a projection's read model anew from all events that archive and streams still "
        "have, and put it in place of the old one at once. Web and consumers go on running; if "
        "anything is missing or fails, nothing is changed. "
        "Example: manage.py outbox_rebuild customer-orders"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", metavar="NAME", help="the projection: a subscriber's name")

    def handle(self, *args: Any, **options: Any) -> None:
        projections = {one.name: one for one in subscribers() if one.is_projection}
        if (name := options["name"]) not in projections:
            there = ", ".join(sorted(projections)) or "none"
            raise CommandError(f"No projection is called {name}; there are: {there}.")
        shows = self.stderr.isatty()
        try:
            done = rebuild(
                projections[name],
                upcasters=messaging().upcasts,
                progress=self._progress if shows else lambda events: None,
            )
        except OutboxError as error:
            raise CommandError(str(error)) from error
        finally:
            if shows:
                self.stderr.write("\r\x1b[K", style_func=str, ending="")
        self.stdout.write(
            f"{name}: {done.events} events of {done.aggregates} aggregates applied, "
            f"{done.skipped} dead letters skipped, in {done.seconds:.1f} s"
        )

    def _progress(self, events: int) -> None:
        self.stderr.write(f"\r{events:,} events read", style_func=str, ending="")
        self.stderr.flush()
