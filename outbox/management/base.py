"""What the outbox's commands have in common: examples in `--help`, errors in words, quiet ends."""

import argparse
import gc
import os
import signal
import sys
from threading import Event
from typing import Any

from django.core.management.base import (
    BaseCommand,
    CommandError,
    CommandParser,
    DjangoHelpFormatter,
)
from django.core.management.color import no_style

from outbox.errors import OutboxError


class HelpFormatter(DjangoHelpFormatter):
    """Leaves alone what has lines of its own: the examples."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if "\n" in text else super()._fill_text(text, width, indent)


class OutboxCommand(BaseCommand):
    """A command with examples, which ends with `CommandError` where the outbox raises its own.

    Whoever stops to read its output (`| head`) ends it without a traceback.
    """

    #: Command lines that work, without `manage.py`; one a line.
    examples: tuple[str, ...] = ()

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        return super().create_parser(prog_name, subcommand, **kwargs, **helped(*self.examples))

    def execute(self, *args: Any, **options: Any) -> str | None:
        self._forced = options["force_color"]
        try:
            output = super().execute(*args, **options)
            # Here rather than at the interpreter's end, which is too late to be quiet about it.
            self.stdout.flush()
        except OutboxError as error:
            raise CommandError(str(error)) from error
        except BrokenPipeError:
            nobody_reads()
            sys.exit(141)  # what a shell makes of SIGPIPE
        return output

    @property
    def colours(self) -> Any:
        """Django's styles, for what this command writes: none if that isn't for a terminal."""
        return self.style if self._forced or self.stdout.isatty() else no_style()


def helped(*examples: str) -> dict[str, Any]:
    """A parser's arguments that let its help end with examples."""
    title = "Example:" if len(examples) == 1 else "Examples:"
    lines = "\n".join(f"  manage.py {example}" for example in examples)
    formatter: type[argparse.HelpFormatter] = HelpFormatter
    return {"epilog": f"{title}\n{lines}" if examples else None, "formatter_class": formatter}


def told_to_stop() -> Event:
    """Set once SIGTERM or SIGINT has come, from now on; a second SIGINT ends the process at once.

    What is in hand then is left as by any death. Call it before threads are started: whoever starts
    the process may be done with it at once.
    """
    stopped = Event()

    def stop(number: int, frame: object) -> None:
        if stopped.is_set() and number == signal.SIGINT:
            os._exit(130)
        stopped.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    return stopped


def keep_what_is_loaded() -> None:
    """Have the garbage collector leave alone what is loaded by now, and stays (`gc.freeze`).

    For a process that makes many objects for long: to look through a whole Django project again and
    again takes it a tenth of its time.
    """
    gc.collect()
    gc.freeze()


def nobody_reads() -> None:
    """Let what is still to be written to a pipe that nobody reads any more go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
