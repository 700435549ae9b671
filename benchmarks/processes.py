"""Relays as processes of their own, as they run in production."""

import os
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

RELAY = ("django", "outbox_relay")
CELERY = ("celery", "-A", "benchmarks.celery", "worker", "-l", "warning", "-c", "1")
CELERY += ("--without-gossip", "--without-mingle", "--without-heartbeat")


@contextmanager
def process(*words):
    """`python -m words…`, stopped at the end; what it says is shown if it fails."""
    with tempfile.TemporaryFile() as said:
        child = subprocess.Popen(
            [sys.executable, "-m", *words],
            stdout=said,
            stderr=said,
            env=os.environ | {"PYTHONPATH": str(Path.cwd())},
        )
        try:
            yield child
        finally:
            child.send_signal(signal.SIGTERM)
            try:
                status = child.wait(20)
            except subprocess.TimeoutExpired:
                child.kill()
                status = child.wait()
            if status:
                said.seek(0)
                print(f"{' '.join(words)} ended with {status}:\n{said.read().decode()}")


@contextmanager
def relay():
    """`manage.py outbox_relay`."""
    with process(*RELAY) as child:
        yield child


@contextmanager
def celery(*more):
    """A Celery worker; with beat if it is asked for (`-B`)."""
    with tempfile.TemporaryDirectory() as folder:
        beat = ("-s", f"{folder}/beat") if "-B" in more else ()
        with process(*CELERY, *more, *beat) as child:
            yield child


@contextmanager
def sweepers(count, what="relay"):
    """That many processes, each with a relay or a consumer; yields what sets all of them to work.

    That returns how many messages they have dealt with; its `pids` are theirs.
    """
    children = [
        subprocess.Popen(
            [sys.executable, "-m", "benchmarks.sweeper", what],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(count)
    ]
    for child in children:
        assert child.stdout.readline() == "ready\n"

    def sweep():
        for child in children:
            child.stdin.write("sweep\n")
            child.stdin.flush()
        return sum(int(child.stdout.readline()) for child in children)

    sweep.pids = [child.pid for child in children]
    try:
        yield sweep
    finally:
        for child in children:
            child.communicate(timeout=20)
