"""Replaying the archive: what was published is published again, as it was and in order."""

import io
import json
from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import CommandError, call_command

from outbox import connections, context, discovery, dispatched, publishers, replay
from outbox.envelope import Envelope
from outbox.errors import (
    BrokerUnavailable,
    MessagingError,
    MissingIndex,
    PublishError,
    StoreUnavailable,
)
from outbox.publishers.base import Outcome
from outbox.relay import Relay
from outbox.replay import Selection
from tests import notes
from tests.integration.outbox.consuming import Stage, publish_notes

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)

pytestmark = pytest.mark.usefixtures("mongo", "redis", "admin_log")


def envelope(sequence, aggregate_id="n1", **changes):
    fields = {
        "event_id": context.new_id(),
        "type": "NotePublished",
        "version": "1.1",
        "topic": "notes",
        "aggregate_id": aggregate_id,
        "sequence": sequence,
        "occurred_at": NOON + timedelta(minutes=sequence),
        "payload": f'{{"noteText": "number {sequence}"}}',
        "metadata": {"correlationId": "c-1"},
    }
    return Envelope(**fields | changes)


def archive(*envelopes):
    dispatched.archive(connections.database(), "notes", envelopes, NOON)


def on(redis, stream="notes"):
    return [json.loads(fields[b"event"]) for _, fields in redis.xrange(stream)]


def places(redis, stream="notes"):
    return [(one["aggregateId"], one["sequenceNumber"]) for one in on(redis, stream)]


def run(*arguments):
    """The command's two outputs."""
    out = io.StringIO()
    call_command("outbox_replay", *arguments, stdout=out)
    return out.getvalue()


def test_without_execute_it_shows_what_it_would_do_and_does_nothing(redis):
    archive(*(envelope(number) for number in range(1, 8)))
    said = run("--topic", "notes")
    assert said.startswith("7 messages would be published again, the oldest:\n")
    assert said.count("NotePublished, number ") == replay.SAMPLES
    assert "2026-11-21T12:01:00.000Z  NotePublished, number 1 of n1 in notes" in said
    assert said.endswith("Nothing was published: give --execute to do it.\n")
    assert redis.dbsize() == 0


def test_a_dry_run_can_be_asked_for_by_name_and_not_together_with_the_real_one(redis):
    archive(envelope(1))
    assert run("--all", "--dry-run") == run("--all")
    with pytest.raises(CommandError, match="not allowed with"):
        run("--all", "--dry-run", "--execute")
    assert redis.dbsize() == 0


def test_a_message_is_published_as_it_was_and_marked_as_a_replay(redis, admin_log):
    publish_notes(1, changes=2)
    before = on(redis)
    redis.flushdb()
    said = run("--topic", "notes", "--execute", "--reason", "lost")
    after = on(redis)
    marks = {one["metadata"].pop("replay") for one in after}
    assert after == before
    [mark] = marks
    assert said == f'2 messages published again; their metadata says "replay": "{mark}".\n'
    assert abs(datetime.fromisoformat(mark) - datetime.now(UTC)) < timedelta(minutes=1)
    assert redis.exists("notes-internal") == 0
    what = "Replayed: 2 of all with topic notes. lost. By command."
    assert admin_log() == [("alice", "Dispatched messages", what)]


def test_the_mark_is_a_cloudevents_attribute(redis, settings):
    settings.OUTBOX_ENVELOPE = "outbox.envelope.to_cloudevents"
    archive(envelope(1))
    run("--all", "--execute")
    assert datetime.fromisoformat(on(redis)[0]["replay"])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--aggregate", "n2"], ["n2:1:notes"]),
        (["--type", "NoteOffered"], ["n1:3:notes"]),
        (["--topic", "others"], ["n1:1:others"]),
        (["--since", "2026-11-21T12:03:00Z"], ["n1:3:notes", "n1:4:notes"]),
        (["--since", "2026-11-21T13:03:00+01:00"], ["n1:3:notes", "n1:4:notes"]),
        (["--until", "2026-11-21T12:02:00", "--topic", "notes"], ["n1:1:notes", "n2:1:notes"]),
        (["--since", "2026-11-22"], []),
        (["--aggregate", "n1", "--type", "NoteOffered", "--topic", "others"], []),
    ],
)
def test_what_is_selected_is_what_is_published(redis, arguments, expected):
    first = [envelope(1), envelope(2), envelope(3, type="NoteOffered"), envelope(4)]
    archive(*first, envelope(1, "n2"), envelope(1, topic="others"))
    said = run(*arguments, "--execute")
    found = [f"{a}:{n}:{topic}" for topic in ("notes", "others") for a, n in places(redis, topic)]
    assert found == expected
    assert said.startswith("Nothing in the archive" if not expected else f"{len(expected)} message")


def test_how_long_ago_is_by_the_servers_clock(redis):
    now = replay.message_store.now()
    archive(
        *(
            envelope(number, occurred_at=now - timedelta(hours=ago))
            for number, ago in enumerate((49, 47, 3, 1), 1)
        )
    )
    run("--since", "2d", "--until", "2h", "--execute")
    assert places(redis) == [("n1", 2), ("n1", 3)]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "Say which messages"),
        (["--all", "--topic", "notes"], "Say which messages"),
        (["--since", "yesterday"], "'yesterday' is no time"),
        (["--since", "99999999999d"], "is no time"),
        (["--since", "2h", "--until", "3h"], "No event occurs since 2h and until 3h"),
        (["--topic", "notes", "--to", "No Topic"], "can't be a topic"),
        (["--all", "--to", "audit"], "Select one topic"),
        (["--topic", "notes", "--to", "orders"], "orders has messages of its own"),
    ],
)
@pytest.mark.parametrize("execute", [True, False])
def test_what_makes_no_sense_is_refused(redis, arguments, said, execute):
    archive(envelope(1))
    with pytest.raises(CommandError, match=said):
        run(*arguments, *["--execute"][:execute])
    assert redis.dbsize() == 0


def test_another_topic_gets_them_on_its_own_streams(redis, settings):
    settings.OUTBOX_TOPICS = {"audit": {"partitions": 2}}
    archive(*(envelope(1, f"n{number}") for number in range(10)))
    run("--topic", "notes", "--to", "audit", "--execute")
    assert redis.exists("notes") == 0
    both = places(redis, "audit.0") + places(redis, "audit.1")
    assert sorted(both) == [(f"n{number}", 1) for number in range(10)]


def test_each_aggregates_messages_come_in_order_whatever_the_hosts_clocks_were(redis, monkeypatch):
    monkeypatch.setattr(replay, "PAGE", 7)
    # Ids that run backwards, as if each had been given out by a host further behind.
    ids = sorted((context.new_id() for _ in range(60)), reverse=True)
    skewed = [
        envelope(1 + number // 3, f"n{number % 3}", event_id=one) for number, one in enumerate(ids)
    ]
    archive(*skewed)
    run("--all", "--execute")
    assert places(redis) == [(f"n{note}", number) for note in range(3) for number in range(1, 21)]


def test_messages_are_read_and_published_a_page_at_a_time(commands, monkeypatch):
    monkeypatch.setattr(replay, "PAGE", 10)
    archive(*(envelope(number) for number in range(1, 36)))
    commands.clear()
    told = []
    assert replay.replay(Selection(topic="notes"), progress=told.append).published == 35
    assert told == [10, 20, 30, 35]
    finds = [event.command["filter"] for event in commands.events if event.command_name == "find"]
    assert [len(one["_id"]["$in"]) for one in finds] == [10, 10, 10, 5]


@pytest.mark.parametrize(
    ("selection", "index"),
    [
        (Selection(), "_id_"),
        (Selection(since=NOON), "_id_"),
        (Selection(topic="notes", until=NOON), "outbox_topic"),
        (Selection(topic="notes", type="NotePublished"), "outbox_type"),
        (Selection(aggregate_id="n7", type="NotePublished"), "outbox_aggregate"),
    ],
)
def test_every_query_follows_an_index(mongo, commands, selection, index):
    archive(*(envelope(1, f"n{number}") for number in range(50)))
    commands.clear()
    replay.preview(selection)
    replay.replay(selection)
    asked = [e.command for e in commands.events if e.command_name in ("aggregate", "find")]
    assert len(asked) >= 3
    names = ("aggregate", "find", "pipeline", "filter", "hint", "cursor")
    for command in asked:
        query = {name: command[name] for name in names if name in command}
        plan = str(mongo.command("explain", query, verbosity="executionStats"))
        assert "COLLSCAN" not in plan
        assert f"'indexName': '{'_id_' if 'find' in query else index}'" in plan or "IDHACK" in plan
        if selection.aggregate_id and "aggregate" in query:
            assert "'totalDocsExamined': 1," in plan


def test_without_its_index_it_says_so(mongo):
    mongo[dispatched.COLLECTION].drop_index("outbox_topic")
    with pytest.raises(MissingIndex):
        replay.preview(Selection(topic="notes"))
    with pytest.raises(CommandError, match="outbox_indexes"):
        run("--topic", "notes", "--execute")


@pytest.mark.parametrize("kind", Stage.KINDS)
def test_after_the_stream_is_lost_a_subscriber_gets_exactly_what_it_had_not_handled(redis, kind):
    stage, repository = Stage(kind), notes.repository()
    published = [notes.Note("n1"), notes.Note("n2")]
    for note in published:
        note.write("one")
        repository.add(note)
    Relay("notes").sweep()
    assert stage.drain()["handled"] == 2
    for _ in range(2):
        published[0].write("more")
        repository.save(published[0])
    late = notes.Note("n3")
    late.write("one")
    repository.add(late)
    Relay("notes").sweep()
    redis.delete("notes")

    run("--topic", "notes", "--execute")
    assert +stage.drain() == {"handled": 3, "repeats": 2}
    assert stage.seen() == {"n1": [1, 2, 3], "n2": [1], "n3": [1]}


@pytest.mark.parametrize("kind", Stage.KINDS)
def test_a_subscriber_that_has_handled_everything_does_nothing(kind):
    stage, ids = Stage(kind), publish_notes(3)
    assert stage.drain()["handled"] == 9
    run("--topic", "notes", "--execute")
    assert +stage.drain() == {"repeats": 9}
    assert stage.seen() == {one: [1, 2, 3] for one in ids}


class Refusing:
    """Publishes to Redis, until the message that it fails at."""

    def __init__(self, error, at):
        self.error, self.at = error, at
        self.redis = publishers.configured()

    def publish(self, groups):
        outcomes = []
        for group in groups:
            good = [one for one in group if one.sequence < self.at]
            self.redis.publish([good] if good else [])
            outcomes.append(Outcome(len(good), None if len(good) == len(group) else self.error))
        return outcomes


@pytest.mark.parametrize("error", [PublishError("too large"), BrokerUnavailable("gone")])
def test_it_stops_at_what_is_refused_and_says_how_far_it_came(redis, monkeypatch, error):
    monkeypatch.setattr(replay, "PAGE", 2)
    archive(*(envelope(number) for number in range(1, 9)))
    publisher = Refusing(error, at=4)
    monkeypatch.setattr(publishers, "configured", lambda: publisher)
    with pytest.raises(type(error), match=f"; 3 messages are known .* {error} Run it again"):
        replay.replay(Selection(topic="notes"))
    assert places(redis) == [("n1", 1), ("n1", 2), ("n1", 3)]

    stage = Stage("projection")
    stage.drain()
    publisher.at = 100
    run("--topic", "notes", "--execute")
    stage.drain()
    assert stage.seen() == {"n1": list(range(1, 9))}


def test_a_broker_or_a_store_that_is_away_is_an_error_of_the_command(settings):
    archive(envelope(1))
    settings.OUTBOX_REDIS_URL = "redis://127.0.0.1:1/0"
    with pytest.raises(CommandError, match=r"0 messages are known .*\. Redis can't be"):
        run("--all", "--execute")
    settings.OUTBOX_MONGODB_URI = "mongodb://127.0.0.1:1/"
    settings.OUTBOX_MONGODB_TIMEOUT = 0.2
    with pytest.raises(CommandError, match="MongoDB can't be reached"):
        run("--all", "--execute")
    with pytest.raises(StoreUnavailable):
        replay.preview(Selection())


def test_what_expires_meanwhile_is_not_published(redis, monkeypatch):
    archive(*(envelope(number) for number in range(1, 5)))
    monkeypatch.setattr(replay, "PAGE", 2)

    def expire(published):
        connections.database()[dispatched.COLLECTION].delete_one({"sequence": 3})

    assert replay.replay(Selection(), progress=expire).published == 3
    assert [number for _, number in places(redis)] == [1, 2, 4]


def test_a_replay_can_be_selected_from_where_it_came(redis):
    """To their own topic is where they go anyway."""
    archive(envelope(1, topic="orders"))
    assert "orders" in discovery.topics()
    assert replay.replay(Selection(topic="orders"), to="orders").published == 1
    with pytest.raises(MessagingError):
        replay.replay(Selection(topic="notes"), to="orders")


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_on_a_terminal_there_is_a_progress_bar(monkeypatch):
    monkeypatch.setattr(replay, "PAGE", 2)
    archive(*(envelope(number) for number in range(1, 5)))
    shown, quiet = Terminal(), io.StringIO()
    for stderr in (shown, quiet):
        call_command("outbox_replay", "--all", "--execute", stdout=io.StringIO(), stderr=stderr)
    first, second = shown.getvalue().split("\n")[0].split("\r")[1:]
    assert first == f"[{'#' * 15}{' ' * 15}]  50%  2 of 4"
    assert second.endswith("] 100%  4 of 4")
    assert quiet.getvalue() == ""
