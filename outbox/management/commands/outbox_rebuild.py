"""Rebuild a projection's read model from the history, while everything runs."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from outbox.discovery import messaging, subscribers
from outbox.management.base import OutboxCommand
from outbox.management.progress import progress
from outbox.rebuild import rebuild


class Command(OutboxCommand):
    help = (
        "Build a projection's read model anew from all events that archive and streams still "
        "have, and put it in place of the old one at once. Web and consumers go on running; if "
        "anything is missing or fails, nothing is changed."
    )
    examples = ("outbox_rebuild customer-orders",)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", metavar="NAME", help="the projection: a subscriber's name")

    def handle(self, *args: Any, **options: Any) -> None:
        projections = {one.name: one for one in subscribers() if one.is_projection}
        if (name := options["name"]) not in projections:
            there = ", ".join(sorted(projections)) or "none"
            raise CommandError(f"No projection is called {name}; there are: {there}.")
        with progress(self.stderr, None, "events read") as told:
            done = rebuild(projections[name], upcasters=messaging().upcasts, progress=told)
        events, aggregates, letters = (
            f"{number} {noun}{'' if number == 1 else 's'}"
            for number, noun in (
                (done.events, "event"),
                (done.aggregates, "aggregate"),
                (done.skipped, "dead letter"),
            )
        )
        self.stdout.write(
            f"{name}: {events} of {aggregates} applied, {letters} skipped, in {done.seconds:.1f} s"
        )
