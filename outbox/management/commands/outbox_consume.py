"""Consume events: give them to the subscribers' handlers, until told to stop."""

from threading import Event
from typing import Any

from django.core.management.base import CommandError, CommandParser

from outbox.consumers import Consumers, started
from outbox.discovery import subscribers
from outbox.management.base import OutboxCommand, keep_what_is_loaded, told_to_stop


class Command(OutboxCommand):
    help = (
        "Consume events: give them to the subscribers' handlers, until SIGTERM or SIGINT. Any "
        "number may run; for each subscriber and stream one works and the others stand by."
    )
    examples = ("outbox_consume customer-orders letters",)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "names", nargs="*", metavar="NAME", help="subscribers; all of them unless named"
        )

    def handle(self, *names: Any, **options: Any) -> None:
        stopped = told_to_stop()
        consumers = self._start(options["names"], stopped)
        if consumers is None:
            return
        chosen = sorted({consumer.subscriber.name for consumer in consumers.consumers})
        self.stdout.write(f"Consuming for {', '.join(chosen)}.")
        while not stopped.wait(1.0):
            pass
        self.stdout.write("Stopping.")
        if not consumers.stop():
            raise CommandError("Some handlers were still busy; their events are delivered again.")
        for consumer in consumers.consumers:
            counts = {what: number for what, number in consumer.counts.items() if number}
            if said := ", ".join(f"{number} {what}" for what, number in counts.items()):
                self.stdout.write(f"{consumer.subscriber.name} {consumer.stream}: {said}")

    def _start(self, names: list[str], stopped: Event) -> Consumers | None:
        """The consumers, started; None if it is time to stop before the servers can be reached."""
        chosen = subscribers(names)
        if not chosen:
            raise CommandError("No app declares a subscriber: add `subscribes` to a messaging.py.")
        keep_what_is_loaded()
        return started(chosen, stopped)
