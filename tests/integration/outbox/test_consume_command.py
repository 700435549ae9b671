"""`manage.py outbox_consume`, run in a process of its own."""

import signal
import time

import pytest
from django.core.management import CommandError, call_command

from outbox import discovery
from outbox.discovery import Messaging
from tests.integration.outbox import consuming
from tests.integration.outbox.consuming import Stage, add, child, event, eventually, letters


def test_an_unknown_name_is_refused_with_those_there_are():
    names = ", ".join(sorted(discovery.messaging().subscribes))
    with pytest.raises(CommandError, match=f"No subscriber is called nobody; there are: {names}"):
        call_command("outbox_consume", "nobody")


def test_where_nobody_subscribes_it_says_so(monkeypatch):
    monkeypatch.setattr(discovery, "messaging", Messaging)
    with pytest.raises(CommandError, match="No app declares a subscriber"):
        call_command("outbox_consume")


COMMAND = """
import django
django.setup()
from django.core.management import call_command
from outbox import consumers, discovery
def before(event, delivery):
    print("begun", delivery.sequence, flush=True)
    if delivery.sequence == 3:
        time.sleep(1.0)
stage = Stage("KIND", before)
table = discovery.Messaging(subscribes={"titles": stage.subscriber})
consumers.bus = lambda: stage.bus
discovery.messaging = consumers.messaging = lambda: table
call_command("outbox_consume", "titles")
import gc
print("Frozen." if gc.get_freeze_count() > 10_000 else "Not frozen.")
"""


@pytest.mark.parametrize("kind", ["embedded", "session"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop_it_finishes_the_event_in_hand_and_releases_the_rest(
    mongo, redis, settings, kind, number
):
    settings.OUTBOX_LEASE = 1.0
    add(redis, *(event("n1", one) for one in range(1, 7)))
    process = child(COMMAND.replace("KIND", kind))
    try:
        said = []
        while not said or said[-1] != "begun 3\n":
            said.append(process.stdout.readline())
            assert said[-1]
        began = time.monotonic()
        process.send_signal(number)
        rest, _ = process.communicate(timeout=8)
        assert time.monotonic() - began < 4
    finally:
        process.kill()
    assert process.returncode == 0
    assert "Stopping." in rest
    assert rest.endswith("\nFrozen.\n")
    assert "begun 4" not in rest
    stage = Stage(kind)
    assert stage.seen() == {"n1": [1, 2, 3]}
    assert {one["attempts"] for one in consuming.waiting()} == {0}
    eventually(lambda: stage.drain() and stage.seen() == {"n1": [1, 2, 3, 4, 5, 6]})
    assert letters() == []
