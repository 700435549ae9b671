"""Watch a topic: what is published to it, as it comes."""

import argparse
import json
import select
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

from django.core.management.base import CommandError, CommandParser

from outbox.discovery import subscribers, topics
from outbox.errors import BrokerUnavailable
from outbox.management.base import OutboxCommand, nobody_reads
from outbox.management.live_view import view
from outbox.management.tailing import Tail, Tailed
from outbox.redis_errors import is_the_brokers_fault

#: Seconds between two tries to reach a broker that is away.
AGAIN = 1.0


class Command(OutboxCommand):
    help = (
        "Show what is published to a topic, as it comes, until Ctrl-C: in words on a terminal, "
        "elsewhere one envelope a line, as it is. Takes nothing from anybody: it is in no "
        "consumer group."
    )
    examples = (
        "outbox_tail orders --last 5",
        "outbox_tail orders --from-start --type OrderPaid | head -1",
    )
    # What is wrong with the settings is no reason not to look.
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("topic", metavar="TOPIC", help="the topic")
        begin = parser.add_mutually_exclusive_group()
        begin.add_argument("--from-start", action="store_true", help="begin with the oldest")
        begin.add_argument("--last", type=_count, default=0, metavar="N", help="begin N before now")
        parser.add_argument("--type", help="of this type only, e.g. OrderPlaced")
        parser.add_argument("--aggregate", metavar="ID", help="of this aggregate only")
        parser.add_argument(
            "--force", action="store_true", help="even if no app here knows the topic"
        )

    def handle(self, *args: Any, topic: str, force: bool, **options: Any) -> None:
        known = sorted({*topics(), *(one.topic for one in subscribers())})
        if topic not in known and not force:
            raise CommandError(
                f"No app here publishes or subscribes to {topic}; there are: {', '.join(known)}. "
                "A topic of another service: --force."
            )
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, signal.default_int_handler)

        def wanted(one: Tailed) -> bool:
            given = {"type": options["type"], "aggregate_id": options["aggregate"]}
            return all(
                value is None or (one.event is not None and getattr(one.event, name) == value)
                for name, value in given.items()
            )

        try:
            tail = Tail(topic, wanted)
            for one in self._entries(tail, None if options["from_start"] else options["last"]):
                if one is not None:
                    self._show(one)
                elif self._is_unread():
                    break
        except KeyboardInterrupt:
            pass
        except BrokenPipeError:
            nobody_reads()

    def _entries(self, tail: Tail, last: int | None) -> Iterator[Tailed | None]:
        """What is to be shown, whatever becomes of the broker meanwhile, which is told."""
        away, begun = False, False
        while True:
            try:
                if not begun:
                    before = tail.begin(last)
                    begun = True
                    yield from before
                for one in tail.entries():
                    if away:
                        away = False
                        self.stderr.write("Redis is there again.", style_func=str)
                    yield one
            except BrokerUnavailable as error:
                cause: Any = error.__cause__
                if not is_the_brokers_fault(cause):
                    raise
                if not away:
                    away = True
                    self.stderr.write(f"{error}. Tries again every second.", style_func=str)
                time.sleep(AGAIN)
                yield None

    def _show(self, one: Tailed) -> None:
        if self.stdout.isatty():
            width = shutil.get_terminal_size().columns
            self.stdout.write(view(one, width, self.colours))
        elif _is_json(one.text):
            # In JSON these stand between two of its parts, and never within a text.
            self.stdout.write(one.text.replace("\r", " ").replace("\n", " "))
        else:
            self.stderr.write(f"{one.stream} {one.id} can't be read: {one.flaw}", style_func=str)
        self.stdout.flush()

    def _is_unread(self) -> bool:
        """Whether the reader of the pipe is gone; else that would show with the next event only."""
        try:
            poll = select.poll()
            poll.register(self.stdout.fileno(), 0)
        except OSError:
            return False  # no file at all
        return any(what & select.POLLERR for _, what in poll.poll(0))


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no number of events.")
    return int(text)
