"""A process that is killed in the middle of a command: all of it is stored, or nothing."""

import random
import time

import pytest

from tests import notes
from tests.faults.consumption import relaying
from tests.faults.interference import COMMAND
from tests.faults.length import times
from tests.integration.outbox.consuming import eventually

WRITING = """
repository = notes.repository()
note = repository.get("n1")
{arm}
note = repository.get("n1")
note.text += "x"
note.write(note.text)
repository.save(note)
"""

#: After these nothing is stored, or all of it; of the others, nobody can know.
STORED = {
    "after load": False,
    "before the write": False,
    "half of the write sent": False,
    "after the write": True,
}


def whole(document):
    """Every change is one more letter, one more version and one more event of each topic."""
    changes = len(document["text"])
    sequences = document["outbox"]["sequences"]
    return document["version"] == changes == sequences["notes"] == sequences["notes-internal"]


def version(mongo):
    return mongo["notes"].find_one()["version"]


@pytest.mark.parametrize("point", COMMAND)
def test_a_command_is_stored_as_a_whole_or_not_at_all(mongo, redis, nursery, account, point):
    note = notes.Note("n1", "x")
    note.write("x")
    notes.repository().add(note)
    known = 1
    for _ in range(times(2, 100)):
        assert nursery.run(WRITING.format(arm=f"at({point!r}, die)")) == -9
        time.sleep(0.02)  # what was sent before it died may take effect after
        found = mongo["notes"].find_one()
        assert whole(found)
        if point in STORED:
            assert found["version"] - known == STORED[point]
        known = found["version"]
    assert not account()


def test_commands_that_are_killed_at_random_moments_are_stored_as_a_whole_or_not_at_all(
    mongo, redis, nursery, account
):
    note = notes.Note("n1", "x")
    note.write("x")
    notes.repository().add(note)
    forever = WRITING.format(arm="") + "    \nwhile True:\n"
    forever += "    note.text += 'x'\n    note.write(note.text)\n    repository.save(note)\n"
    with relaying():
        for _ in range(times(5, 200)):
            writer, before = nursery.start(forever), version(mongo)
            eventually(lambda before=before: version(mongo) > before)
            time.sleep(random.uniform(0.0, 0.1))
            assert writer.kill() == -9
    assert whole(mongo["notes"].find_one())
    assert not account()
