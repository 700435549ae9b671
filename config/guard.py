"""The guard: ends what a process leaves behind when it dies without being able to."""

import os
import signal
from collections.abc import Callable
from contextlib import suppress

from config.processes import kill_group


class Guard:
    """A process that outlives this one for as long as it takes to clear up after it.

    It learns of the death by the end of a pipe, so not even SIGKILL gets past it. Then it kills the
    process groups that were entered and not crossed out, and calls `clear`.
    """

    def __init__(self, clear: Callable[[], None]) -> None:
        entries, self._pipe = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            with suppress(BaseException):
                os.close(self._pipe)
                _watch(entries, clear)
            os._exit(0)
        os.close(entries)

    def enter(self, group: int) -> None:
        self._write(f"+{group}\n")

    def cross_out(self, group: int) -> None:
        self._write(f"-{group}\n")

    def dismiss(self) -> None:
        """Let it do its work now, and wait for it."""
        os.close(self._pipe)
        with suppress(ChildProcessError):
            os.waitpid(self._pid, 0)

    def _write(self, line: str) -> None:
        with suppress(BrokenPipeError):  # someone killed it; then we do without
            os.write(self._pipe, line.encode())


def _watch(entries: int, clear: Callable[[], None]) -> None:
    os.setsid()
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, signal.SIG_IGN)
    # Keep no terminal and no pipe open that somebody waits for the end of.
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    groups: set[int] = set()
    with open(entries) as lines:
        for line in lines:
            group = int(line[1:])
            if line.startswith("+"):
                groups.add(group)
            else:
                groups.discard(group)
    for group in groups:
        kill_group(group)
    clear()
