from datetime import timedelta

import pytest
from pymongo.errors import BulkWriteError

from outbox import connections, inbox, indexes
from outbox.delivery import read
from outbox.errors import Superseded
from tests.integration.outbox.consuming import Stage, add, event, json


def delivered(aggregate_id, sequence, **changes):
    return read(json.dumps(event(aggregate_id, sequence, **changes)), "notes")


@pytest.mark.parametrize("kind", Stage.KINDS)
def test_an_old_repeat_is_recognised_when_its_entry_has_expired(mongo, redis, kind):
    stage, one = Stage(kind), event("n1", 1)
    add(redis, one)
    stage.drain()
    [entry] = mongo["outbox_inbox"].find()
    assert entry["_id"] == f"titles:{one['eventId']}"
    assert {"topic", "type", "aggregate_id", "sequence", "handled_at"} < entry.keys()
    mongo["outbox_inbox"].delete_many({})
    mongo["notes"].update_many({}, {"$set": {"outbox.handled": []}})
    add(redis, one)
    assert stage.drain()["repeats"] == 1
    assert stage.seen() == {"n1": [1]}


def test_entries_expire_after_the_retention(mongo, settings):
    settings.OUTBOX_INBOX_RETENTION = timedelta(days=2)
    indexes.ensure_indexes([])
    [ttl] = [one for one in mongo["outbox_inbox"].list_indexes() if one["name"] == inbox.TTL_INDEX]
    assert (ttl["key"], ttl["expireAfterSeconds"]) == ({"handled_at": 1}, 2 * 86400)


def test_a_cursor_moves_only_from_where_it_was(mongo):
    inbox.advance("titles", "notes", {}, {"n1": 3, "n2": 1})
    assert inbox.cursors("titles", "notes", ["n1", "n2", "n3"]) == {"n1": 3, "n2": 1}
    inbox.advance("titles", "notes", {"n1": 3, "n2": 1}, {"n1": 4, "n2": 2})
    for before in ({"n1": 3}, {}):
        with pytest.raises(Superseded):
            inbox.advance("titles", "notes", before, {"n1": 5})
    assert inbox.cursors("titles", "notes", ["n1"]) == {"n1": 4}
    assert inbox.cursors("others", "notes", ["n1"]) == {}


def test_cursors_asked_for_ahead_never_replace_what_was_moved_meanwhile(mongo):
    inbox.advance("titles", "notes", {}, {"n1": 3, "n2": 1})
    known = inbox.Cursors("titles", "notes")
    ahead = known.prefetch(["n1", "n2", "n3", "n4"])
    inbox.advance("titles", "notes", {"n1": 3}, {"n1": 4, "n3": 1})
    known.update(n1=4, n3=1)
    known.take(ahead)
    assert known.look_up(["n1", "n2", "n3", "n4"]) == {"n1": 4, "n2": 1, "n3": 1}


def test_cursors_asked_for_ahead_are_worth_nothing_once_all_were_forgotten(mongo):
    known = inbox.Cursors("titles", "notes")
    ahead = known.prefetch(["n1"])
    inbox.advance("titles", "notes", {}, {"n1": 1})
    known.forget()
    known.take(ahead)
    assert known.look_up(["n1"]) == {"n1": 1}


def test_cursors_asked_for_ahead_are_not_asked_for_again(mongo, commands):
    known = inbox.Cursors("titles", "notes")
    known.take(known.prefetch(["n1", "n2"]))
    commands.clear()
    assert known.look_up(["n1", "n2"]) == {}
    assert commands.on("outbox_cursors") == []


def test_a_gap_is_passed_once_and_remembered(mongo):
    inbox.go_past("titles", "notes", "n1", 0, 2, new=True)
    with pytest.raises(Superseded):
        inbox.go_past("titles", "notes", "n1", 0, 2, new=True)
    inbox.advance("titles", "notes", {"n1": 2}, {"n1": 3})
    inbox.go_past("titles", "notes", "n1", 3, 5, new=False)
    with pytest.raises(Superseded):
        inbox.go_past("titles", "notes", "n1", 3, 5, new=False)
    late = inbox.passed("titles", [delivered("n1", number) for number in range(1, 8)])
    assert [one.sequence for one in late] == [1, 2, 4, 5]


def test_whether_a_subscriber_has_begun_is_known_by_topic(mongo):
    inbox.advance("titles", "notes", {}, {"n1": 1})
    assert inbox.has_begun("titles", "notes")
    for other in (("titles", "note"), ("titles", "notes-internal"), ("title", "notes")):
        assert not inbox.has_begun(*other)


def test_only_a_duplicate_is_passed_over():
    def refused(codes, concerns=()):
        errors = [{"code": code} for code in codes]
        return BulkWriteError({"writeErrors": errors, "writeConcernErrors": list(concerns)})

    connections.raise_unless_duplicate(refused([11000, 11000]))
    for error in (
        refused([11000, 2]),
        refused([11000], [{"code": 64}]),
        refused([], [{"code": 64}]),
    ):
        with pytest.raises(BulkWriteError):
            connections.raise_unless_duplicate(error)
