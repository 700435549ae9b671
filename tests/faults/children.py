"""Child processes of the tests: each runs a piece of code with the test's settings, and may die.

They are forked by a process that has imported everything and has no connections and no threads, so
that one costs milliseconds and a test can kill many.
"""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from django.conf import settings

ROOT = Path(__file__).parents[2]

#: A child that is forgotten ends by itself after so many seconds.
LONGEST = 90

NURSERY = f"""
import json, os, signal, sys, time, traceback
from django.conf import settings
from outbox import batch, clock, connections, dispatched, inbox, publishers
from outbox.errors import OutboxError
from outbox.lease import Lease
from outbox.relay import Relay
from outbox.relays import Relays
from tests import notes
from tests.faults import interference
from tests.faults.interference import at, die, pause
from tests.integration.outbox.consuming import Stage

for line in sys.stdin:
    job = json.loads(line)
    pid = os.fork()
    if pid == 0:
        signal.alarm({LONGEST})
        sys.stdin.close()
        for name, value in job["settings"].items():
            setattr(settings, name, value)
        try:
            exec(job["code"])
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    print(pid, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


class Child:
    """One that was started. `exit_code` waits for its end; a signal's number is negative."""

    def __init__(self, nursery):
        self._nursery = nursery
        self._exit_code = None
        self.pid = int(nursery.stdout.readline())

    @property
    def exit_code(self):
        if self._exit_code is None:
            self._exit_code = int(self._nursery.stdout.readline())
        return self._exit_code

    def kill(self):
        if self._exit_code is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        return self.exit_code

    def go_on(self):
        os.kill(self.pid, signal.SIGCONT)

    def until_stopped(self, within=20):
        """Wait until it has stopped itself."""
        deadline = time.monotonic() + within
        while self._state() != "T":
            assert time.monotonic() < deadline, f"it isn't stopped: {self._state()}"
            time.sleep(0.005)

    def _state(self):
        return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0]


class Nursery:
    """Starts children, one at a time."""

    def __init__(self, before=""):
        """`before` is code that runs before anything is imported."""
        self._process = subprocess.Popen(
            [sys.executable, "-c", before + NURSERY],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._last = None

    def start(self, code):
        assert self._last is None or self._last.exit_code is not None
        names = [name for name in dir(settings) if name.startswith("OUTBOX_")]
        given = {name: getattr(settings, name) for name in names}
        plain = {k: v for k, v in given.items() if isinstance(v, (str, int, float))}
        self._process.stdin.write(json.dumps({"settings": plain, "code": code}) + "\n")
        self._process.stdin.flush()
        self._last = Child(self._process)
        return self._last

    def run(self, code):
        """The exit code of a child that runs `code`."""
        return self.start(code).exit_code

    def end_last(self):
        """End the child that a test has left, if any."""
        if self._last is not None:
            self._last.kill()

    def close(self):
        self.end_last()
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()
