"""Relay messages as they are committed: the relay as a process of its own, without Celery."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from outbox.discovery import relays
from outbox.management.base import OutboxCommand, keep_what_is_loaded, told_to_stop
from outbox.relays import Relays


class Command(OutboxCommand):
    help = (
        "Publish messages as they are committed, woken by MongoDB's change stream, until SIGTERM "
        "or SIGINT. Any number may run, beside Celery's sweep too: one works on a partition."
    )
    examples = ("outbox_relay", "outbox_relay --threads 4")

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--threads",
            type=int,
            default=2,
            metavar="N",
            help="partitions to work on at the same time (2); for more than one processor's worth, "
            "run the command several times",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["threads"] < 1:
            raise CommandError("--threads must be 1 or more.")
        stopped = told_to_stop()
        found = relays()
        if not found:
            raise CommandError(
                "No app declares a repository: add `repositories` to a messaging.py."
            )
        running = Relays(found, options["threads"])
        keep_what_is_loaded()
        self.stdout.write(f"Relaying {', '.join(one.collection for one in found)}.")
        self.stdout.flush()  # a pipe would keep it until the end
        running.start()
        while not stopped.wait(1.0):
            pass
        self.stdout.write("Stopping.")
        if not running.stop():
            raise CommandError("A batch was still busy; what of it is pending is published again.")
        self.stdout.write(f"{running.published} published.")
