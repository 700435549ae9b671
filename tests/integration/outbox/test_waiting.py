"""What waits for a subscriber is told as it is: what failed, what it died of, what is behind."""

import io
import json
import re
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command

from outbox import backoff, clock, connections, deferred, diagnosis, discovery, monitoring, waiting
from outbox.context import new_id
from outbox.delivery import read
from outbox.discovery import Messaging
from outbox.errors import BrokerUnavailable, MissingIndex
from outbox.indexes import ensure_indexes
from outbox.message_store import REACH, Selection
from tests import notes
from tests.integration.outbox.consuming import Stage, add, event

pytestmark = pytest.mark.usefixtures("mongo", "redis")


@pytest.fixture(autouse=True)
def _notes(mongo, monkeypatch, settings):
    """A project with one subscriber, whose attempts are all due at once."""
    settings.OUTBOX_STATISTICS = False
    monkeypatch.setattr(backoff, "delay", lambda attempts: 0.0)
    ensure_indexes([])
    table = Messaging(publishes=notes.mapping.routes, repositories=[])
    table.subscribes["titles"] = Stage("recorded").subscriber
    monkeypatch.setattr(discovery, "messaging", lambda: table)
    monkeypatch.setattr(monitoring, "messaging", lambda: table)


def put(aggregate="n1", number=1, *, subscriber="titles", since=0.0, due=60.0, **fields):
    """Have an event wait, put aside so many seconds ago; its key."""
    database = connections.database()
    one = read(json.dumps(event(aggregate, number, eventId=new_id())), "notes")
    fields = {"attempts": 0} | fields
    early, error = fields.pop("early", False), fields.pop("last_error", "")
    deferred.put(
        subscriber,
        "notes",
        [one],
        due_at=clock.after(database, due),
        attempts=fields.pop("attempts"),
        early=early,
        last_error=error,
    )
    key = f"{subscriber}:notes:{aggregate}:{number}"
    at = clock.now(database) - timedelta(seconds=since)
    database[deferred.COLLECTION].update_one({"_id": key}, {"$set": {"since": at, **fields}})
    return key


def keys(**selection):
    return [one.key for one in waiting.messages(Selection(**selection)).messages]


def told():
    """What waits, in words."""
    return [(one.aggregate_id, one.sequence, one.fate) for one in waiting.messages().messages]


class Dies(BaseException):
    """In the place of the process's death: nobody catches it, and nothing is noted."""


# -- What consumers leave there --


def test_an_event_that_failed_waits_with_its_error_and_those_behind_for_their_turn(
    redis, monkeypatch
):
    def fail(event, delivery):
        raise ValueError("no such title")

    stage = Stage("recorded", fail)
    add(redis, event("n1", 1), event("n1", 2))
    monkeypatch.setattr(backoff, "delay", lambda attempts: 60.0)
    stage.drain()

    first, second = waiting.messages().messages
    assert (first.subscriber, first.topic, first.type) == ("titles", "notes", "NotePublished")
    assert (first.aggregate_id, first.sequence) == ("n1", 1)
    assert first.error == "ValueError: no such title"
    assert (first.attempts, first.ended, first.died_in) == (1, 1, None)
    assert first.fate == "1 failed attempt"
    assert (second.sequence, second.attempts, second.fate) == (2, 0, "waits for its turn")
    assert first.event_id == json.loads(waiting.message(first.key).text)["eventId"]


def test_while_it_is_tried_the_error_before_is_still_known():
    key = put(attempts=3, last_error="ValueError: no")
    [one] = deferred.due("titles", "notes", clock.after(connections.database(), 99), 1)
    deferred.begin(one, due_at=one.due_at)
    found = waiting.message(key)
    assert (found.attempts, found.ended, found.error) == (4, 3, "ValueError: no")
    assert (found.fate, found.died_in) == ("3 failed attempts, the next hasn't ended", None)


def test_an_attempt_that_does_not_come_to_its_end_is_told_of_when_the_next_one_begins():
    stage = Stage("recorded")
    put(due=-1)
    fates = []
    for _ in range(4):
        consumer = stage.consumer()
        consumer._deferred._runner.run = _die
        with pytest.raises(Dies):
            consumer.drain()
        fates += [fate for _, _, fate in told()]
    assert fates == [
        "attempt 1 hasn't ended: it goes on, or the process died in it",
        "attempt 2 hasn't ended: it goes on, or the process died in it",
        "the process died in attempt 2, the next hasn't ended",
        "the process died in attempt 3, the next hasn't ended",
    ]


def _die(*args, **kwargs):
    raise Dies


def test_what_its_handler_needs_being_away_is_no_attempt_and_no_death():
    def away(event, delivery):
        raise BrokerUnavailable("gone")

    put(attempts=2, last_error="ValueError: no", due=-1)
    Stage("recorded", away, unavailable=(BrokerUnavailable,)).drain()
    assert told() == [("n1", 1, "2 failed attempts")]


# -- How it is listed --


def test_what_has_waited_the_longest_comes_first_and_filters_leave_the_others_out():
    first = put("n1", 1, since=9, attempts=2, last_error="ValueError: no")
    second = put("n1", 2, since=8, early=True)
    third = put("n2", 1, since=7, subscriber="other", attempts=1)
    assert keys() == [first, second, third]
    assert keys(state="tried") == [first, third]
    assert keys(state="untried") == [second]
    assert keys(subscriber="titles") == [first, second]
    assert keys(subscriber="titles", state="tried") == [first]
    assert keys(term="n1") == keys(aggregate_id="n1") == [first, second]
    assert keys(term=waiting.message(third).event_id) == [third]
    assert keys(type="NotePublished", topic="notes") == [first, second, third]
    assert keys(term="n") == keys(topic="nowhere") == keys(subscriber="x") == []
    ago = clock.after(connections.database(), -8.5)
    assert keys(since=ago) == [second, third]
    assert keys(until=ago, subscriber="titles") == [first]


@pytest.mark.parametrize("selection", [{}, {"subscriber": "titles"}, {"state": "tried"}])
def test_a_cursor_walks_past_everything_once_also_of_one_moment(mongo, selection):
    for number in range(1, 10):
        put("n1", number, attempts=1)
    at = clock.now(mongo)
    mongo[deferred.COLLECTION].update_many({"sequence": {"$gt": 3}}, {"$set": {"since": at}})
    found, cursor = [], None
    while True:
        page = waiting.messages(Selection(**selection), limit=2, cursor=cursor)
        found += [one.sequence for one in page.messages]
        if (cursor := page.next) is None:
            break
    assert found == list(range(1, 10))


def test_a_list_leaves_envelopes_with_the_server_and_says_where_it_ends(mongo, monkeypatch):
    put()
    assert waiting.messages().messages[0].text == ""
    [pattern] = mongo[deferred.COLLECTION].find()
    mongo[deferred.COLLECTION].insert_many(
        {**pattern, "_id": str(number)} for number in range(REACH)
    )
    assert waiting.messages(Selection(type="x")).partial
    assert not waiting.messages(Selection(subscriber="x")).partial


def test_without_an_index_it_is_said_rather_than_scanned(mongo):
    put()
    mongo[deferred.COLLECTION].drop_index("outbox_deferred_tried")
    with pytest.raises(MissingIndex):
        waiting.tried()


# -- What is wrong --


def problems():
    found = diagnosis.problems(monitoring.overview())
    return [one for one in found if one.code in ("failing", "crash_loop")]


def test_the_overview_names_who_fails_on_what_and_why():
    put("n1", 1, since=50, attempts=2, last_error="ValueError: early days")
    put("n2", 1, since=40, attempts=4, last_error="KeyError: 'title'")
    put("n3", 1, since=30, early=True)
    [one] = monitoring.overview().failing
    assert (one.subscriber, one.events, one.attempts, one.died) == ("titles", 2, 4, False)
    [problem] = problems()
    assert (problem.level, problem.code, problem.subject) == ("warning", "failing", "titles")
    assert problem.text.startswith("titles has failed 4 times on NotePublished ")
    assert "(number 1 of n2 in notes); tried again at 20" in problem.text
    assert problem.text.endswith("Z. One other waits like it.")
    assert problem.detail == "KeyError: 'title'"


def test_a_crash_loop_is_named_beside_what_merely_fails():
    put("n1", 1, attempts=9, last_error="ValueError: no")
    put("n2", 1, attempts=4, error_before="")
    assert [(one.died, one.attempts) for one in monitoring.overview().failing] == [
        (False, 9),
        (True, 3),
    ]
    problem = problems()[-1]
    assert (problem.level, problem.code) == ("warning", "crash_loop")
    assert problem.text.startswith("titles: the process has died in attempt 3 of NotePublished ")


def test_what_has_failed_once_or_twice_or_been_taken_over_is_no_matter():
    put("n1", 1, attempts=2, last_error="ValueError: no")
    put("n2", 1, attempts=1)
    put("n3", 1, attempts=2, error_before="")
    assert problems() == []


def test_whatever_waits_the_overview_asks_once_and_for_no_more_than_so_many(
    mongo, commands, monkeypatch
):
    monkeypatch.setattr(waiting, "LOOKED_AT", 3)
    for number in range(1, 6):
        put("n1", number, attempts=5, last_error="ValueError: no", since=100 - number)
    clock.now(mongo)
    commands.clear()
    [one] = monitoring.overview().failing
    assert one.events == 3
    asked = [
        event.command for event in commands.events if deferred.COLLECTION in event.command.values()
    ]
    assert len(asked) == 2  # the counts there were before, and this
    plan = mongo.command(
        "explain",
        {k: v for k, v in asked[-1].items() if not k.startswith(("$", "lsid", "maxTimeMS"))},
        verbosity="executionStats",
    )
    assert plan["executionStats"]["totalDocsExamined"] == 3


# -- The command --


def run(*arguments):
    out = io.StringIO()
    call_command("outbox_waiting", *arguments, stdout=out)
    return out.getvalue()


def test_the_command_lists_them_as_a_table():
    put("n1", 1, since=600, attempts=2, last_error="ValueError: no\nsuch title")
    put("n1", 2, since=500, early=True)
    title, *rows, total = run().splitlines()
    assert title.split("  ")[0] == "subscriber"
    assert [row.split()[:5] for row in rows] == [
        ["titles", "notes", "NotePublished", "1", "n1"],
        ["titles", "notes", "NotePublished", "2", "n1"],
    ]
    assert re.search(
        r"  10 min  in \d\d s +2 failed attempts: ValueError: no\\nsuch title$", rows[0]
    )
    assert re.search(r"   8 min  - +waits for its turn$", rows[1])
    assert total == "2 waiting events"


def test_the_command_narrows_and_limits():
    put("n1", 1, since=9, attempts=2, last_error="ValueError: no")
    put("n2", 1, since=8, early=True)
    assert run("--tried").endswith("\n1 waiting event\n")
    assert "n1" not in run("--aggregate", "n2")
    assert run("--limit", "1").endswith("\n1 or more waiting events\n")
    assert run("--subscriber", "titles", "--since", "1h").endswith("\n2 waiting events\n")
    assert run("--type", "x") == "0 waiting events\n"
    with pytest.raises(CommandError, match="nobody"):
        run("--subscriber", "nobody")


def test_the_command_has_them_as_json():
    put("n1", 3, attempts=2, last_error="ValueError: no")
    found = json.loads(run("--json"))
    assert found["_id"] == "titles:notes:n1:3"
    assert (found["attempts"], found["last_error"]) == (2, "ValueError: no")
    assert (found["sequence"], found["fate"]) == (3, "2 failed attempts")
    assert "text" not in found
