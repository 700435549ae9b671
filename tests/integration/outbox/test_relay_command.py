"""`manage.py outbox_relay`, run in a process of its own."""

import json
import signal
import time

import pytest
from django.core.management import CommandError, call_command

from outbox import discovery
from outbox.discovery import Messaging
from tests import notes
from tests.integration.outbox.consuming import child, eventually
from tests.notes import Note

COMMAND = """
import django
django.setup()
from django.core.management import call_command
from outbox import discovery
from tests import notes
table = discovery.Messaging(repositories=[notes.repository()])
discovery.messaging = lambda: table
call_command("outbox_relay", "--threads", "1")
import gc
print("Frozen." if gc.get_freeze_count() > 10_000 else "Not frozen.")
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_relays_until_it_is_told_to_stop_and_gives_its_leases_back(mongo, redis, number):
    process = child(COMMAND)
    try:
        assert process.stdout.readline() == "Relaying notes.\n"
        for name in ("a", "b", "c"):
            note = Note(name)
            note.write("hello")
            notes.repository().add(note)
        eventually(lambda: redis.xlen("notes") == 3)
        began = time.monotonic()
        process.send_signal(number)
        rest, _ = process.communicate(timeout=10)
        assert time.monotonic() - began < 5
    finally:
        process.kill()
    assert process.returncode == 0
    assert rest == "Stopping.\n6 published.\nFrozen.\n"  # each to two topics
    assert {json.loads(one[b"event"])["aggregateId"] for _, one in redis.xrange("notes")} == {
        "a",
        "b",
        "c",
    }
    assert not mongo["outbox_leases"].find_one({"owner": {"$ne": None}})


def test_without_repositories_it_says_so(monkeypatch):
    monkeypatch.setattr(discovery, "messaging", Messaging)
    with pytest.raises(CommandError, match="No app declares a repository"):
        call_command("outbox_relay")


def test_a_thread_is_needed():
    with pytest.raises(CommandError, match="--threads must be 1 or more"):
        call_command("outbox_relay", "--threads", "0")
