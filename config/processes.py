"""Child processes that are ended together with all that they started."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TETHER = Path(__file__).with_name("tether.py")


class Process:
    """A command in a session of its own, run from the checkout's root, with its output in a file.

    Its session keeps the terminal's Ctrl-C away from it and makes one group of it and all that it
    starts. On Linux it dies with the thread that made this object, however that one ends.
    """

    def __init__(
        self, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        with log.open("ab") as output:
            self._popen = subprocess.Popen(  # noqa: S603 - commands are our own
                [sys.executable, "-I", "-S", str(TETHER), str(os.getpid()), *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
                cwd=ROOT,
                start_new_session=True,
            )
        self.command = command
        self.log = log
        self.pid = self._popen.pid
        self._started = time.monotonic()

    @property
    def exit_code(self) -> int | None:
        """None while it runs; minus the signal's number if a signal ended it."""
        return self._popen.poll()

    @property
    def killed(self) -> bool:
        """Whether somebody ended it from outside, rather than it failing.

        A program that is asked to end, and does, ends with 0.
        """
        return self.exit_code in (0, -signal.SIGKILL, -signal.SIGTERM)

    @property
    def age(self) -> float:
        """Seconds since it was started."""
        return time.monotonic() - self._started

    def stop(self, within: float = 5.0) -> None:
        """Ask it to end, and end it if it hasn't within so many seconds. Safe to repeat."""
        self.ask_to_stop()
        self.see_it_stopped(within)

    def ask_to_stop(self) -> None:
        self._popen.terminate()
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGCONT)  # a suspended process hears nothing else

    def see_it_stopped(self, within: float = 5.0) -> None:
        with suppress(subprocess.TimeoutExpired):
            self._popen.wait(within)
        self.kill()

    def kill(self) -> None:
        """End it and whatever is left of its group at once, and reap them. Safe to repeat."""
        kill_group(self.pid)
        self._popen.wait()
        # Its own children have become ours by now, where `adopt_orphans` was called.
        with suppress(ChildProcessError):
            while True:
                os.waitpid(-self.pid, 0)

    def tail(self, lines: int = 15) -> str:
        """The end of its log, for an error message."""
        text = self.log.read_text(errors="replace").splitlines()[-lines:]
        return "\n".join(f"  {line[:300]}" for line in text)


def kill_group(group: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def adopt_orphans() -> None:
    """Become the parent of what our children leave behind, so that it can be reaped (Linux).

    Else it would be up to the first process of the system, which in a container may never do it.
    """
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER
