"""Interruption: being told to stop, by a signal or by the death of who started us."""

import os
import signal
import time


class Interrupted(Exception):
    """It is time to stop."""


class Interruption:
    """Notes SIGINT, SIGTERM, SIGHUP and the parent's death; raises only where `check` is called.

    So a start-up isn't cut through between making a process and remembering it, and a second
    Ctrl-C doesn't disturb the clearing up after the first.
    """

    def __init__(self, parent: int | None = None) -> None:
        # Given by who can: it may have died before we came to ask.
        self._parent = parent or os.getppid()
        self._noted = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._note)
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # as `nohup` sets it
            signal.signal(signal.SIGHUP, self._note)

    def check(self) -> None:
        """Raise `Interrupted` if it is time to stop."""
        if self._noted or os.getppid() != self._parent:
            raise Interrupted

    def pause(self, seconds: float) -> None:
        time.sleep(seconds)
        self.check()

    def _note(self, *_: object) -> None:
        self._noted = True
