"""The run folder, `.run/`: pid files, logs, data and addresses of what runs from this checkout."""

import fcntl
import os
import re
import shlex
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path


class AlreadyRunning(Exception):
    """Another process holds the run folder."""


class RunFolder:
    """A private folder that one process at a time may hold.

    The hold ends with the process (and those that it forks), so a crash leaves nothing to remove
    by hand; what an earlier holder left behind is cleared when the next one begins.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.logs = path / "logs"
        self.data = path / "data"
        self.environment_file = path / "env"

    def hold(self, wait: float = 3.0) -> None:
        """Take hold of the folder and empty it, or raise `AlreadyRunning` after `wait` seconds."""
        self.path.mkdir(mode=0o700, exist_ok=True)
        self._lock = os.open(self.path, os.O_RDONLY)
        deadline = time.monotonic() + wait
        while True:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise AlreadyRunning from None
                time.sleep(0.1)
        self.path.chmod(0o700)
        self.clear()
        shutil.rmtree(self.logs, ignore_errors=True)
        self.logs.mkdir()
        self.data.mkdir()

    def clear(self) -> None:
        """Remove everything but the logs."""
        self.environment_file.unlink(missing_ok=True)
        for file in self.path.glob("*.pid"):
            file.unlink(missing_ok=True)
        shutil.rmtree(self.data, ignore_errors=True)

    def log(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def write_pid(self, name: str, pid: int) -> None:
        self._write(self.path / f"{name}.pid", f"{pid}\n")

    def pid(self, name: str) -> int | None:
        with suppress(FileNotFoundError):
            return int((self.path / f"{name}.pid").read_text())
        return None

    def write_environment(self, values: Mapping[str, str]) -> None:
        """Write `NAME=value` lines that a shell can source."""
        self._write(
            self.environment_file, "".join(f"{k}={_quoted(v)}\n" for k, v in values.items())
        )

    def environment(self) -> dict[str, str]:
        """What `write_environment` wrote; empty if there is nothing yet."""
        with suppress(FileNotFoundError):
            pairs = shlex.split(self.environment_file.read_text())
            return dict(pair.split("=", 1) for pair in pairs)
        return {}

    def _write(self, file: Path, text: str) -> None:
        """Put a file in place as a whole: a reader never sees half of it."""
        draft = file.with_suffix(".new")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as output:
            output.write(text)
        draft.replace(file)


def _quoted(value: str) -> str:
    # A question mark needs no quotes in an assignment, and a URI reads better without.
    return value if re.fullmatch(r"[\w@%+=:,./?-]*", value, re.ASCII) else shlex.quote(value)
