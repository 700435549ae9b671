"""What tests of processes share."""

import os
import time
from pathlib import Path


def eventually(condition, within=5.0):
    """Wait until the condition holds; fail if it doesn't in time."""
    deadline = time.monotonic() + within
    while not (result := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
    return result


def gone(pid):
    """Whether a process has ended, reaped by whoever is its parent now or not."""
    stat = Path(f"/proc/{pid}/stat")
    if Path("/proc/self/stat").exists():
        return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False
