"""The relay's promises on a real MongoDB; in-memory publisher where Redis isn't the point."""

import json
import threading
import time
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta

import pytest
from pymongo.errors import AutoReconnect

import outbox.relay
from outbox import batch, clock, dispatched, document, signals
from outbox.context import MessageContext
from outbox.document import relaying, saving
from outbox.envelope import to_json
from outbox.errors import BrokerUnavailable, MissingIndex, StoreUnavailable
from outbox.lease import Lease
from outbox.publishers import idempotence
from outbox.publishers.base import Outcome
from outbox.publishers.memory import InMemoryPublisher
from outbox.publishers.redis import RedisStreamPublisher
from outbox.relay import Relay, sweep_all
from tests import notes
from tests.notes import Note

pytestmark = pytest.mark.usefixtures("mongo")


@pytest.fixture
def repository():
    return notes.repository()


def write(repository, *ids):
    for id in ids:
        note = Note(id)
        note.write("hello")
        repository.add(note)


def rewrite(repository, id):
    note = repository.get(id)
    note.write("again")
    repository.save(note)


def fill(repository, mongo, count, each=1):
    """Store many new notes at a time, written to so often."""
    rows = []
    for i in range(count):
        note = Note(f"n{i}")
        for _ in range(each):
            note.write("hello")
        messages = repository.mapping.map(note.collect_events(), note)
        fields = repository.to_document(note)
        new, _ = saving.insert(note.id, fields, messages, clock.now(mongo), MessageContext())
        rows.append(new)
    mongo["notes"].insert_many(rows)


def published(publisher, stream="notes"):
    events = [json.loads(text) for text in publisher.streams[stream]]
    return [(event["aggregateId"], event["sequenceNumber"]) for event in events]


def pending(mongo):
    return [
        (found["_id"], entry["topic"], entry["sequence"])
        for found in mongo["notes"].find()
        for entry in found["outbox"]["pending"]
    ]


def test_a_sweep_publishes_all_in_the_order_of_each_aggregate_and_empties_the_documents(
    mongo, relay, repository, publisher
):
    write(repository, "a", "b", "c")
    for _ in range(3):
        rewrite(repository, "b")
    assert relay.sweep() == 2 * 6
    assert sorted(published(publisher)) == [
        ("a", 1),
        ("b", 1),
        ("b", 2),
        ("b", 3),
        ("b", 4),
        ("c", 1),
    ]
    for stream in ("notes", "notes-internal"):
        of_b = [number for id, number in published(publisher, stream) if id == "b"]
        assert of_b == [1, 2, 3, 4]
    assert pending(mongo) == []
    assert relay.sweep() == 0


def test_what_is_published_says_when_its_event_happened(mongo, relay, repository, publisher):
    note = Note("a")
    note.write("hello", at=datetime(2025, 6, 28, 10, 0, 0, 999_999, UTC))
    repository.add(note)
    relay.sweep()
    [event] = publisher.streams["notes"]
    assert json.loads(event)["timestamp"] == "2025-06-28T10:00:00.999Z"
    archived = mongo["outbox_dispatched"].find_one({"topic": "notes"})
    assert archived["occurred_at"] == datetime(2025, 6, 28, 10, 0, 0, 999_000, UTC)


def test_what_was_published_is_in_the_archive_and_expires(mongo, relay, repository, settings):
    write(repository, "a")
    [entry, _] = mongo["notes"].find_one()["outbox"]["pending"]
    relay.sweep()
    [archived] = mongo["outbox_dispatched"].find({"topic": "notes"})
    assert archived.pop("dispatched_at") >= archived["occurred_at"]
    assert archived == {
        "_id": entry["event_id"],
        "aggregate_id": "a",
        "collection": "notes",
        **{k: v for k, v in entry.items() if k not in ("event_id", "due_at")},
    }
    ttl = mongo["outbox_dispatched"].index_information()["outbox_retention"]
    assert ttl["expireAfterSeconds"] == settings.OUTBOX_RETENTION.total_seconds()


@pytest.fixture(autouse=True)
def _retention(settings):
    settings.OUTBOX_RETENTION = timedelta(days=7)


def test_without_retention_nothing_is_archived(mongo, relay, repository, settings):
    settings.OUTBOX_RETENTION = None
    write(repository, "a")
    assert relay.sweep() == 2
    assert mongo["outbox_dispatched"].count_documents({}) == 0


class Dying(InMemoryPublisher):
    """Publishes, and loses the answer."""

    def publish(self, groups):
        super().publish(groups)
        raise BrokerUnavailable


def test_what_died_between_publishing_and_pulling_is_published_again_with_the_same_ids(
    mongo, repository, relay, publisher
):
    write(repository, "a")
    dying = Dying()
    with pytest.raises(BrokerUnavailable):
        Relay("notes", publisher=dying).sweep()
    assert len(pending(mongo)) == 2
    relay.sweep()
    assert publisher.streams == dying.streams


def test_what_died_between_archiving_and_pulling_is_archived_once(
    mongo, relay, repository, publisher, monkeypatch
):
    write(repository, "a")
    with monkeypatch.context() as patch:
        patch.setattr(batch, "_pull", lambda *args: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            relay.sweep()
    relay.sweep()
    assert len(published(publisher)) == 2
    assert mongo["outbox_dispatched"].count_documents({}) == 2
    assert pending(mongo) == []


def test_a_pull_whose_answer_was_lost_is_repeated_and_not_published_again(
    mongo, relay, repository, publisher, monkeypatch
):
    write(repository, "a")
    documents = type(mongo["notes"])
    update_many, calls = documents.update_many, []

    def losing(self, *args, **kwargs):
        update_many(self, *args, **kwargs)
        calls.append(self.name)
        if len(calls) == 1:
            raise AutoReconnect

    monkeypatch.setattr(documents, "update_many", losing)
    assert relay.sweep() == 2
    assert len(calls) == 2
    assert published(publisher) == [("a", 1)]


def test_a_message_that_the_broker_refuses_waits_and_so_do_those_behind_it(
    mongo, relay, repository, publisher, monkeypatch
):
    monkeypatch.setattr("outbox.backoff.delay", lambda attempts: 60.0)
    publisher.refused.add("notes-internal")
    write(repository, "a")
    rewrite(repository, "a")
    assert relay.sweep() == 1
    assert published(publisher) == [("a", 1)]
    assert pending(mongo) == [
        ("a", "notes-internal", 1),
        ("a", "notes", 2),
        ("a", "notes-internal", 2),
    ]
    entries = mongo["notes"].find_one()["outbox"]["pending"]
    assert (entries[0]["attempts"], entries[0]["last_error"]) == (1, "notes-internal is refused")
    assert "attempts" not in entries[1]
    assert len({entry["due_at"] for entry in entries}) == 1
    assert entries[0]["due_at"] > clock.now(mongo)


def test_a_refused_message_is_tried_again_when_it_is_due(
    mongo, relay, repository, publisher, monkeypatch
):
    monkeypatch.setattr("outbox.backoff.delay", lambda attempts: 60.0)
    publisher.refused.add("notes")
    write(repository, "a")
    for attempt in (1, 2):
        relay.sweep()
        assert mongo["notes"].find_one()["outbox"]["pending"][0]["attempts"] == attempt
        mongo["notes"].update_one(
            {}, {"$set": {f"outbox.pending.{i}.due_at": clock.now(mongo) for i in (0, 1)}}
        )
    publisher.refused.clear()
    assert relay.sweep() == 2
    assert published(publisher) == [("a", 1)]


def test_blocked_documents_do_not_stand_in_the_way_of_others(
    mongo, relay, repository, publisher, settings, monkeypatch
):
    monkeypatch.setattr("outbox.backoff.delay", lambda attempts: 60.0)
    settings.OUTBOX_PARTITIONS, settings.OUTBOX_BATCH = 1, 3
    blocked = [f"blocked{i}" for i in range(10)]
    publisher.refused.add("notes")
    write(repository, *blocked)
    relay.sweep()
    publisher.refused.clear()
    for id in blocked:
        rewrite(repository, id)  # due at once, behind a message that isn't
    write(repository, "free")
    relay.sweep()
    assert published(publisher) == [("free", 1)]
    assert {id for id, _, _ in pending(mongo)} == set(blocked)
    assert relay.sweep() == 0


def test_what_is_no_message_holds_up_only_its_own_document(
    mongo, relay, repository, settings, monkeypatch
):
    monkeypatch.setattr("outbox.backoff.delay", lambda attempts: 60.0)
    settings.OUTBOX_PARTITIONS = 1
    write(repository, "a", "b", "c")
    mongo["notes"].update_one({"_id": "b"}, {"$unset": {"outbox.pending.1.type": 1}})
    assert relay.sweep() == 5
    [left] = mongo["notes"].find_one({"_id": "b"})["outbox"]["pending"]
    assert (left["attempts"], left["last_error"]) == (1, "It isn't a message: KeyError('type')")
    assert relay.sweep() == 0


def frame_or_fail(envelope):
    if envelope.aggregate_id == "b" and envelope.topic == "notes-internal":
        raise ValueError("not this one")
    return to_json(envelope)


@pytest.mark.parametrize("broker", ["memory", "redis"])
def test_a_message_that_cannot_be_framed_holds_up_only_its_own_document(
    mongo, repository, settings, request, broker
):
    if broker == "redis":
        request.getfixturevalue("redis")
    settings.OUTBOX_ENVELOPE = f"{__name__}.frame_or_fail"
    settings.OUTBOX_BACKOFF = 60.0
    write(repository, "a", "b", "c")
    assert Relay("notes").sweep() == 5
    [left] = mongo["notes"].find_one({"_id": "b"})["outbox"]["pending"]
    assert "not this one" in left["last_error"]


def test_an_archive_that_refuses_does_not_have_messages_published_again(
    mongo, relay, repository, publisher, caplog
):
    refuse = {"$jsonSchema": {"required": ["impossible"]}}
    mongo.command("collMod", "outbox_dispatched", validator=refuse)
    write(repository, "a")
    assert relay.sweep() == 2
    assert relay.sweep() == 0
    assert published(publisher) == [("a", 1)]
    assert "2 published messages were not archived" in caplog.text


def test_a_failing_collection_or_partition_does_not_keep_the_others_waiting(
    mongo, relay, repository, publisher, monkeypatch
):
    mongo["without_index"].insert_one({})
    write(repository, "a", "b")
    drain = Relay.drain

    def failing(self, partition, lease, ends):
        if partition == saving.partition_of("a"):
            raise ZeroDivisionError
        return drain(self, partition, lease, ends)

    monkeypatch.setattr(Relay, "drain", failing)
    with pytest.raises(MissingIndex):
        sweep_all([Relay("without_index"), relay])
    assert published(publisher) == [("b", 1)]


def test_a_message_that_is_due_by_a_clock_slightly_ahead_is_not_passed_over(
    mongo, relay, repository
):
    write(repository, "a")
    soon = clock.after(mongo, 0.3)
    due = {f"outbox.pending.{i}.due_at": soon for i in (0, 1)}
    mongo["notes"].update_one({"_id": "a"}, {"$set": due})
    assert relay.sweep() == 2


def test_a_broker_that_is_away_burns_nobodys_attempts(mongo, repository):
    class Away:
        def publish(self, groups):
            return [Outcome(0, BrokerUnavailable()) for _ in groups]

    write(repository, "a")
    with pytest.raises(BrokerUnavailable):
        Relay("notes", publisher=Away()).sweep()
    entries = mongo["notes"].find_one()["outbox"]["pending"]
    assert len(entries) == 2
    assert not any("attempts" in entry for entry in entries)
    assert Lease(mongo, f"relay:notes:{saving.partition_of('a')}", 1).acquire()


class Switched(InMemoryPublisher):
    """A broker that can be away."""

    away = False
    asked = 0

    def publish(self, groups):
        self.asked += 1
        if self.away:
            raise BrokerUnavailable()
        return super().publish(groups)


def test_relays_leave_a_broker_alone_that_was_away_and_go_on_at_full_speed_when_it_is_back(
    mongo, repository, settings, commands, monkeypatch
):
    monkeypatch.setattr("outbox.relay.REST", 0.3)
    settings.OUTBOX_PARTITIONS, settings.OUTBOX_BATCH = 1, 100
    fill(repository, mongo, 1000)
    publisher = Switched()
    publisher.away = True
    relay = Relay("notes", publisher=publisher)
    with pytest.raises(BrokerUnavailable):
        relay.sweep()
    commands.clear()
    for _ in range(3):
        with pytest.raises(BrokerUnavailable, match="is tried again in"):
            relay.sweep()
        with pytest.raises(BrokerUnavailable, match="is tried again in"):
            relay.sweep_partition(0)
    assert publisher.asked == 1
    assert not commands.events
    time.sleep(relay.rests_for)
    with pytest.raises(BrokerUnavailable):
        relay.sweep()
    assert publisher.asked == 2
    publisher.away = False
    time.sleep(relay.rests_for)
    assert relay.sweep() == 2000
    # One batch after the other, no smaller than before.
    assert publisher.asked <= 2 + 1000 / 100 + 1
    assert relay.rests_for == 0


def test_all_relays_of_a_process_share_what_is_known_of_the_broker(mongo, repository, settings):
    outbox.relay._breaker.cache_clear()
    settings.OUTBOX_PUBLISHER = "outbox.publishers.redis.RedisStreamPublisher"
    write(repository, "a")
    with pytest.raises(BrokerUnavailable, match="can't be reached"):
        Relay("notes").sweep()
    with pytest.raises(BrokerUnavailable, match="is tried again in"):
        Relay("others").sweep()


def test_an_outage_of_the_broker_is_told_once_and_its_end(mongo, repository, caplog, monkeypatch):
    monkeypatch.setattr("outbox.relay.REST", 0.01)
    changes = []

    def note(sender, state, **_):
        changes.append((sender, state))

    signals.breaker_changed.connect(note)
    publisher = Switched()
    relay = Relay("notes", publisher=publisher)
    write(repository, "a")
    publisher.away = True
    for _ in range(5):
        with pytest.raises(BrokerUnavailable):
            relay.sweep()
        time.sleep(0.02)
    publisher.away = False
    assert relay.sweep() == 2
    signals.breaker_changed.disconnect(note)
    told = [record.message for record in caplog.records if record.name == "outbox.breaker"]
    assert len(told) == 2
    assert told[0].startswith("relay rests, its circuit breaker is open, and tries again every")
    assert told[1] == "relay works again, its circuit breaker is closed."
    assert changes[0] == ("relay", "open")
    assert changes[-1] == ("relay", "closed")


def test_500_refused_documents_take_one_request_more(
    mongo, repository, publisher, settings, commands, monkeypatch, caplog
):
    monkeypatch.setattr("outbox.backoff.delay", lambda attempts: 60.0)
    batch._told.clear()
    settings.OUTBOX_PARTITIONS = 1
    fill(repository, mongo, 500)
    publisher.refused.add("notes-internal")
    commands.clear()
    assert Relay("notes", publisher=publisher).sweep_partition(0) == 500
    asked = [command for command, _ in commands.on("notes", dispatched.COLLECTION)]
    # The last: nothing is due any more after the lease is released.
    assert asked == ["find", "insert", "update", "update", "find"]
    # And it is told in two lines.
    told = [r for r in caplog.records if r.name == "outbox.batch" and r.levelname == "WARNING"]
    assert len(told) == 2
    assert told[1].message == "And 499 more in the same way: notes-internal is refused"


def test_what_is_added_behind_a_message_that_is_just_refused_waits_for_it_as_well(
    mongo, repository, publisher, monkeypatch
):
    monkeypatch.setattr("outbox.backoff.delay", lambda attempts: 60.0)
    publisher.refused.add("notes")
    write(repository, "a")
    postpone = relaying.postpone

    def late(*args, **more):
        if repository.get("a").version == 1:
            rewrite(repository, "a")
        return postpone(*args, **more)

    monkeypatch.setattr(relaying, "postpone", late)
    relay = Relay("notes", publisher=publisher)
    assert relay.sweep() == 0
    entries = mongo["notes"].find_one()["outbox"]["pending"]
    assert [entry.get("attempts") for entry in entries] == [1, None, None, None]
    relay.sweep()
    due = [entry["due_at"] for entry in mongo["notes"].find_one()["outbox"]["pending"]]
    assert len(set(due)) == 1


def test_what_was_published_before_the_broker_went_is_pulled(mongo, repository):
    class Going:
        def publish(self, groups):
            return [Outcome(1, BrokerUnavailable()) for _ in groups]

    write(repository, "a")
    with pytest.raises(BrokerUnavailable):
        Relay("notes", publisher=Going()).sweep()
    assert pending(mongo) == [("a", "notes-internal", 1)]


def test_a_partition_that_another_relay_holds_is_left_to_it(mongo, relay, repository):
    write(repository, "a", "b")
    held = saving.partition_of("a")
    assert held != saving.partition_of("b")
    other = Lease(mongo, f"relay:notes:{held}", 5)
    other.acquire()
    assert relay.sweep() == 2
    assert {id for id, _, _ in pending(mongo)} == {"a"}
    other.release()
    assert relay.sweep() == 2


def test_a_relay_that_slept_past_its_lease_publishes_nothing(
    mongo, relay, repository, publisher, settings, monkeypatch
):
    settings.OUTBOX_LEASE = 0.2
    write(repository, "a")
    read = batch.read
    heir = Lease(mongo, f"relay:notes:{saving.partition_of('a')}", 5)

    def slow(documents, partition):
        for found in read(documents, partition):
            time.sleep(0.3)
            assert heir.acquire()
            yield found

    monkeypatch.setattr(batch, "read", slow)
    assert relay.sweep() == 0
    assert published(publisher) == []
    assert len(pending(mongo)) == 2


def test_a_commit_that_was_turned_away_at_the_lease_is_found_by_its_holder(
    mongo, repository, publisher
):
    """The wake that is lost between "nothing due" and release."""

    class Busy(InMemoryPublisher):
        def publish(self, groups):
            if not self.streams:
                rewrite(repository, "a")
                # The wake of that commit, at a relay that doesn't get the lease.
                assert Relay("notes", publisher=self).sweep() == 0
            return super().publish(groups)

    write(repository, "a")
    assert Relay("notes", publisher=Busy()).sweep() == 4
    assert pending(mongo) == []


def test_two_relays_at_once_publish_everything_once(mongo, repository, redis, monkeypatch):
    documents, each = 2500, 2
    fill(repository, mongo, documents)
    totals, read, begun, both = [], batch.read, set(), threading.Barrier(2)

    def together(*args):
        for found in read(*args):
            if (relay := threading.get_ident()) not in begun:
                begun.add(relay)
                both.wait(20)  # neither publishes before the other has read something as well
            yield found

    monkeypatch.setattr(batch, "read", together)
    # They want the same partition first, and would have read the same if a lease were no lease.
    monkeypatch.setattr(outbox.relay.random, "shuffle", lambda partitions: None)
    threads = [
        threading.Thread(target=lambda: totals.append(Relay("notes").sweep())) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    entries = [json.loads(fields[b"event"]) for _, fields in redis.xrange("notes")]
    assert len(entries) == documents
    assert set(Counter(entry["eventId"] for entry in entries).values()) == {1}
    assert sum(totals) == documents * each
    assert pending(mongo) == []


def test_a_batch_of_500_takes_three_requests_beside_the_lease(
    mongo, relay, repository, settings, commands
):
    settings.OUTBOX_PARTITIONS = 1
    fill(repository, mongo, 500)
    commands.clear()
    assert relay.sweep_partition(0) == 1000
    in_batch = commands.on("notes", "outbox_dispatched")
    assert in_batch[:3] == [("find", "notes"), ("insert", "outbox_dispatched"), ("update", "notes")]
    # And the look once more.
    assert in_batch[3:] == [("find", "notes")]
    assert sum(one.command_name == "getMore" for one in commands.events) <= 1
    assert commands.on("outbox_leases") == [("update", "outbox_leases")] * 2


def test_what_is_read_ahead_of_a_batch_being_settled_is_published_once_and_in_order(
    mongo, repository, redis, settings
):
    settings.OUTBOX_PARTITIONS, settings.OUTBOX_BATCH = 1, 20
    fill(repository, mongo, 450, each=2)
    settling, together = threading.Lock(), []
    settle, publish = batch.settle, RedisStreamPublisher.publish

    def slow(*args):
        with settling:
            time.sleep(0.005)
            return settle(*args)

    def watched(*args):
        together.append(settling.locked())
        return publish(*args)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(batch, "settle", slow)
        patched.setattr(RedisStreamPublisher, "publish", watched)
        assert Relay("notes").sweep() == 1800
    assert any(together)  # it is done at the same time
    assert pending(mongo) == []
    for topic in ("notes", "notes-internal"):
        texts = [json.loads(fields[b"event"]) for _, fields in redis.xrange(topic)]
        assert len({one["eventId"] for one in texts}) == len(texts) == 900
        numbers = defaultdict(list)
        for one in texts:
            numbers[one["aggregateId"]].append(one["sequenceNumber"])
        assert set(map(tuple, numbers.values())) == {(1, 2)}


def test_a_batch_that_cannot_be_settled_behind_ends_the_sweep_and_is_published_again(
    mongo, repository, redis, settings, monkeypatch
):
    settings.OUTBOX_PARTITIONS, settings.OUTBOX_BATCH = 1, 20
    fill(repository, mongo, 100)
    pull, failing = batch._pull, [1, 2]

    def twice(*args):
        if failing:
            failing.pop()
            raise AutoReconnect("the connection was cut")
        return pull(*args)

    monkeypatch.setattr(batch, "_pull", twice)
    with pytest.raises(StoreUnavailable):
        Relay("notes").sweep()
    assert pending(mongo) != []
    Relay("notes").sweep()
    assert pending(mongo) == []
    texts = [json.loads(fields[b"event"]) for _, fields in redis.xrange("notes")]
    first = list(dict.fromkeys((one["aggregateId"], one["sequenceNumber"]) for one in texts))
    assert len(first) == 100
    assert len({one["eventId"] for one in texts}) == 100


def test_an_idle_sweep_is_one_request(relay, commands):
    relay.sweep()
    commands.clear()
    relay.sweep()
    assert commands.on("notes", "outbox_leases", "outbox_dispatched") == [("find", "notes")]


def test_a_batch_is_one_round_trip_to_redis(repository, redis, settings):
    settings.OUTBOX_PARTITIONS = 1
    write(repository, *(f"n{i}" for i in range(20)))
    for i in range(5):
        rewrite(repository, f"n{i}")
    relay = Relay("notes")
    # Done before, since the client opens with it: see what the server can do.
    idempotence.prepare(redis, [])
    redis.config_resetstat()
    before = sent(redis)
    assert relay.sweep() == 50
    assert sent(redis) - before == Counter({"eval": 20, "xadd": 50})


def sent(redis):
    """Commands that Redis has run, but for those that tests ask with and the client opens with."""
    stats = redis.info("commandstats")
    return Counter(
        {
            name.removeprefix("cmdstat_"): one["calls"]
            for name, one in stats.items()
            if name.removeprefix("cmdstat_") in ("eval", "xadd", "multi", "exec", "set", "get")
        }
    )


def test_the_relay_reads_what_a_majority_has(relay, repository, commands):
    write(repository, "a")
    commands.clear()
    relay.sweep()
    finds = [event.command for event in commands.events if event.command_name == "find"]
    assert finds
    assert all(
        find["readConcern"]["level"] == "majority" for find in finds if find["find"] == "notes"
    )
    updates = [one.command for one in commands.events if one.command_name == "update"]
    pulls = [update for update in updates if update["update"] == "notes"]
    assert pulls
    assert all(update["writeConcern"] == {"w": "majority"} for update in pulls)


def test_finding_the_due_partitions_costs_a_seek_each_whatever_is_stored(mongo):
    later = clock.after(mongo, 3600)
    mongo["notes"].insert_many(
        {
            "_id": f"n{i}",
            "outbox": {"partition": i % 4, "pending": [{"due_at": later}] if i % 2 else []},
        }
        for i in range(2000)
    )
    plan = (
        mongo["notes"]
        .find(relaying.due(clock.now(mongo), passing=[2]), relaying.PARTITION)
        .hint(document.DUE_INDEX)
        .limit(1)
        .explain()["executionStats"]
    )
    assert plan["totalDocsExamined"] == 0
    assert plan["totalKeysExamined"] <= 4


def test_a_missing_index_is_said_in_words(mongo, relay):
    mongo["notes"].drop_indexes()
    with pytest.raises(MissingIndex, match="outbox_indexes"):
        relay.sweep()


def test_a_sweep_ends_when_its_time_is_up(relay, repository, settings):
    write(repository, "a")
    settings.OUTBOX_SWEEP_TIME = 0
    assert relay.sweep() == 0


def test_a_batch_holds_no_more_than_so_much(mongo, relay, repository, publisher, monkeypatch):
    sizes = []
    publish = publisher.publish

    def noting(groups):
        sizes.append(sum(len(one.payload) for group in groups for one in group))
        return publish(groups)

    monkeypatch.setattr(publisher, "publish", noting)
    monkeypatch.setattr(batch, "SIZE", 5_000)
    for i in range(20):
        note = Note(f"n{i}")
        note.write("x" * 1_000)
        repository.add(note)
    assert relay.sweep() == 40
    assert max(sizes) < 5_000 + 2 * 1_100


def test_a_document_with_more_messages_than_a_batch_holds_is_published_in_order(
    mongo, relay, repository, publisher, monkeypatch, settings
):
    monkeypatch.setattr("outbox.batch.MESSAGES", 10)
    settings.OUTBOX_PARTITIONS = 1
    write(repository, "a", "b", "c")
    for _ in range(12):
        rewrite(repository, "a")
        rewrite(repository, "b")
    relay.sweep()
    numbers = defaultdict(list)
    for id, number in published(publisher):
        numbers[id].append(number)
    assert numbers == {"a": list(range(1, 14)), "b": list(range(1, 14)), "c": [1]}
    assert pending(mongo) == []


def test_a_message_that_has_waited_for_years_and_failed_a_million_times_is_still_sent(
    mongo, relay, repository, publisher
):
    write(repository, "a")
    long_ago = clock.now(mongo) - timedelta(days=2000)
    entry = {"due_at": long_ago, "occurred_at": long_ago, "attempts": 1_000_000}
    sets = {f"outbox.pending.0.{name}": value for name, value in entry.items()}
    mongo["notes"].update_one({}, {"$set": sets})
    publisher.refused.add("notes")
    relay.sweep()
    waits = mongo["notes"].find_one()["outbox"]["pending"][0]["due_at"] - clock.now(mongo)
    assert waits <= timedelta(seconds=301)
    due = {f"outbox.pending.{i}.due_at": long_ago for i in (0, 1)}
    mongo["notes"].update_one({}, {"$set": due})
    publisher.refused.clear()
    assert relay.sweep() == 2


def test_no_clean_up_reaches_what_is_not_sent(mongo):
    """Whatever expires is in collections that hold what was sent, handled, given up or counted."""
    expiring = {
        name
        for name in mongo.list_collection_names()
        for index in mongo[name].index_information().values()
        if "expireAfterSeconds" in index
    }
    assert expiring == {
        "outbox_dispatched",
        "outbox_discarded",
        "outbox_inbox",
        "outbox_dead_letters",
        "outbox_operations",
        "outbox_processes",
        "outbox_statistics",
    }
