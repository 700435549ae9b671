"""Trimming streams, on the real Redis and the real Valkey."""

import logging
import random
import time
from datetime import timedelta

import pytest

from config.celery import app
from outbox import RECORDED, Subscriber, signals, tasks, trimming
from outbox.discovery import Messaging
from outbox.errors import BrokerUnavailable, RebuildRefused
from outbox.rebuild import rebuild
from tests.integration.outbox import consuming

DAY = 86_400_000


@pytest.fixture(params=["redis", "valkey"])
def server(request, settings):
    settings.OUTBOX_STREAM_RETENTION = timedelta(days=7)
    return request.getfixturevalue(request.param)


@pytest.fixture(autouse=True)
def subscribed(monkeypatch):
    """The topics are `notes` alone; the declared subscribers are what a test puts here."""
    declared = {}
    monkeypatch.setattr(trimming, "topics", lambda: ["notes"])
    monkeypatch.setattr(trimming, "messaging", lambda: Messaging(subscribes=declared))
    return declared


def subscriber(name, topic="notes"):
    return Subscriber(name=name, topic=topic, effect=RECORDED, handlers={})


def now(server):
    seconds, micros = server.time()
    return seconds * 1000 + micros // 1000


def add(server, *days, stream="notes"):
    """Entries that are so many days old, the oldest first; their ids."""
    at = now(server)
    return [
        server.xadd(stream, {"event": "{}"}, id=f"{at - int(one * DAY)}-{n}")
        for n, one in enumerate(days)
    ]


def read(server, group, count=None, stream="notes", start="0"):
    """Let a group read so many entries, and acknowledge none; their ids."""
    if group.encode() not in [one["name"] for one in server.xinfo_groups(stream)]:
        server.xgroup_create(stream, group, id=start)
    answer = server.xreadgroup(group, "one", {stream: ">"}, count=count)
    if isinstance(answer, dict):
        return [id for id, _ in next(iter(answer.values()), [[]])[0]]
    return [id for _, entries in answer for id, _ in entries]


def finish(server, group, count=None, stream="notes"):
    """Let a group read and acknowledge."""
    if ids := read(server, group, count, stream):
        server.xack(stream, group, *ids)


def left(server, stream="notes"):
    return [id for id, _ in server.xrange(stream)]


def test_what_all_groups_have_acknowledged_and_is_old_enough_goes(server):
    ids = add(server, 9, 8, 7.1, 6.9, 1)
    finish(server, "a")
    finish(server, "b")
    [report] = trimming.trim()
    assert left(server) == ids[3:]
    assert (report.stream, report.trimmed, report.length, report.groups) == ("notes", 3, 2, 2)
    assert report.behind == []
    assert 6.8 * 86400 < report.age < 7 * 86400


def test_nothing_goes_from_the_first_entry_on_that_a_group_has_not_read(server):
    ids = add(server, 10, 9, 8)
    finish(server, "a")
    finish(server, "b", 1)
    trimming.trim()
    assert left(server) == ids[1:]


def test_nothing_goes_from_the_first_entry_on_that_is_not_acknowledged(server):
    ids = add(server, 12, 11, 10, 9, 8)
    finish(server, "a")
    finish(server, "b", 1)
    read(server, "b", 1)
    finish(server, "b", 3)  # later ones are acknowledged
    [report] = trimming.trim()
    assert left(server) == ids[1:]
    [behind] = report.behind
    assert (behind.group, behind.oldest, behind.pending) == ("b", ids[1].decode(), 1)
    assert 10.9 * 86400 < behind.age < 11.1 * 86400


def test_a_group_that_was_set_back_has_not_read_what_comes_again(server):
    ids = add(server, 10, 9, 8)
    read(server, "a")
    server.xack("notes", "a", *ids[:2])
    server.xgroup_setid("notes", "a", ids[0])
    trimming.trim()
    assert left(server) == ids[1:]


def test_a_declared_subscriber_without_a_group_has_read_nothing(server, subscribed):
    ids = add(server, 10, 9)
    finish(server, "a")
    subscribed |= {"b": subscriber("b"), "c": subscriber("c", topic="others")}
    [report] = trimming.trim()
    assert left(server) == ids
    [behind] = report.behind
    assert (behind.group, behind.oldest, behind.pending) == ("b", ids[0].decode(), 0)
    finish(server, "b")
    trimming.trim()
    assert left(server) == []


def test_a_stream_that_nobody_reads_is_left_alone_and_told_of_once(server, caplog):
    ids = add(server, 10, 9)
    for _ in range(3):
        [report] = trimming.trim()
    assert (report.groups, report.trimmed, left(server)) == (0, 0, ids)
    assert caplog.messages == ["Nobody reads notes, so its 2 entries are not trimmed."]


def test_a_young_stream_that_nobody_reads_is_not_told_of(server, caplog):
    add(server, 1)
    trimming.trim()
    assert caplog.messages == []


def test_every_stream_of_a_topic_is_trimmed_by_its_own_groups(server, settings):
    settings.OUTBOX_STREAM_PREFIX = "shop:"
    settings.OUTBOX_TOPICS = {"notes": {"partitions": 2}}
    for stream in ("shop:notes.0", "shop:notes.1", "shop:notes", "shop:notes.5", "notes"):
        add(server, 9, 8, stream=stream)
        finish(server, "a", 1 if stream.endswith("1") else None, stream)
    server.set("shop:notes.7", "not a stream")
    reports = {one.stream: (one.trimmed, one.length) for one in trimming.trim()}
    assert reports == {
        "shop:notes.0": (2, 0),
        "shop:notes.1": (1, 1),
        "shop:notes": (2, 0),
        "shop:notes.5": (2, 0),
    }
    assert server.xlen("notes") == 2


def test_an_emptied_stream_keeps_its_groups(server):
    add(server, 9)
    finish(server, "a")
    trimming.trim()
    [group] = server.xinfo_groups("notes")
    assert group["name"] == b"a"
    server.xadd("notes", {"event": "{}"})
    assert len(read(server, "a")) == 1


@pytest.mark.parametrize("entries", [[], [9]])
def test_no_retention_trims_nothing(server, settings, entries):
    settings.OUTBOX_STREAM_RETENTION = None
    if entries:
        add(server, *entries)
        finish(server, "a")
    assert trimming.trim() == []
    assert server.xlen("notes") == len(entries)


def test_a_stream_that_is_not_there_is_no_error(server):
    assert trimming.trim() == []
    assert not server.exists("notes")


def test_many_entries_are_trimmed_a_step_at_a_time_and_to_the_last_one(server, monkeypatch):
    monkeypatch.setattr(trimming, "STEP", 1000)
    at, pipeline = now(server) - 9 * DAY, server.pipeline(transaction=False)
    for number in range(5432):
        pipeline.xadd("notes", {"event": "{}"}, id=f"{at + number}-0")
    pipeline.execute()
    finish(server, "a")
    server.xgroup_setid("notes", "a", f"{at + 5000}-0")
    asked, client = [], trimming.connections.redis_client()
    call = client.eval
    monkeypatch.setattr(client, "eval", lambda *args: asked.append(call(*args)) or asked[-1])
    [report] = trimming.trim()
    assert report.trimmed == 5001
    assert left(server)[0] == f"{at + 5001}-0".encode()
    assert len(asked) > 5
    assert max(answer[0] for answer in asked) <= 1000


def test_numbers_larger_than_lua_can_count_are_kept_apart(server):
    at, large = now(server) - 8 * DAY, 2**64 - 1
    ids = [server.xadd("notes", {"event": "{}"}, id=f"{at}-{large - n}") for n in (2, 1, 0)]
    finish(server, "a", 2)
    finish(server, "b", 1)
    finish(server, "c", 2)
    trimming.trim()
    assert left(server) == ids[1:]


@pytest.mark.parametrize("seed", range(8))
def test_what_is_not_acknowledged_by_all_is_never_trimmed_and_all_else_is(server, seed):
    """Random groups read, acknowledge, are set back and removed; and between it is trimmed."""
    rng, names, lost = random.Random(seed), ["a", "b", "c"], set()
    unread = {}  # of each group: the entries that it has not acknowledged
    ids = add(server, *sorted((rng.uniform(0, 14) for _ in range(200)), reverse=True))
    week_ago = now(server) - 7 * DAY
    for _ in range(60):
        name, step = rng.choice(names), rng.random()
        if name not in unread:
            start = rng.choice(["0", rng.choice(ids).decode()])
            server.xgroup_create("notes", name, id=start)
            after = ids.index(start.encode()) + 1 if start != "0" else 0
            unread[name] = {one for one in ids[after:] if one not in lost}
        elif step < 0.5:
            read(server, name, rng.randint(1, 40))
        elif step < 0.8:
            known = [
                one["message_id"] for one in server.xpending_range("notes", name, "-", "+", 200)
            ]
            if known:
                done = rng.sample(known, rng.randint(1, len(known)))
                server.xack("notes", name, *done)
                unread[name] -= set(done)
        elif step < 0.83:
            server.xgroup_destroy("notes", name)
            del unread[name]
        else:
            before = left(server)
            trimming.trim()
            after = left(server)
            kept = set().union(*unread.values()) - lost
            assert kept <= set(after)
            old = [one for one in before if int(one.split(b"-")[0]) < week_ago]
            first = min((ids.index(one) for one in kept), default=len(ids))
            may_go = [one for one in old if ids.index(one) < first] if unread else []
            gone = [one for one in before if one not in set(after)]
            assert gone == may_go
            lost |= set(gone)


def test_a_group_that_is_behind_is_told_of_once_an_hour(server, caplog):
    ids, told = add(server, 9, 8), []

    def tell(sender, signal, **what):
        told.append((sender, what))

    finish(server, "a")
    read(server, "b", 1)
    signals.group_behind.connect(tell)
    try:
        for _ in range(3):
            trimming.trim()
        [(sender, what)] = told
        [key] = server.keys("outbox:behind:*")
        assert 3590 < server.ttl(key) <= 3600
        server.delete(key)
        trimming.trim()
        assert len(told) == 2
    finally:
        signals.group_behind.disconnect(tell)
    assert sender == "b"
    assert (what["stream"], what["oldest"], what["pending"]) == ("notes", ids[0].decode(), 1)
    records = [one for one in caplog.records if one.levelno == logging.WARNING]
    assert len(records) == 2
    assert records[0].message.startswith("b hasn't acknowledged")
    assert (records[0].action, records[0].subscriber) == ("trim", "b")


def test_a_group_that_is_busy_with_young_entries_is_not_behind(server, caplog):
    add(server, 6.9, 1)
    read(server, "a", 1)
    [report] = trimming.trim()
    assert report.behind == []
    assert caplog.messages == []


def test_a_broker_that_is_away_is_said_so_and_is_no_failure_of_the_task(settings):
    settings.OUTBOX_REDIS_URL = "redis://127.0.0.1:1/0"
    with pytest.raises(BrokerUnavailable):
        trimming.trim()
    tasks.trim()


def test_beat_trims_every_minute(server):
    assert app.conf.beat_schedule["outbox-trim"] == {
        "task": "outbox.tasks.trim",
        "schedule": 60.0,
        "options": {"expires": 60.0},
    }
    add(server, 9)
    finish(server, "a")
    tasks.trim()
    assert left(server) == []


@pytest.mark.parametrize("archived", [True, False])
def test_a_rebuild_of_a_trimmed_history_is_complete_or_refused(
    mongo, redis, settings, subscribed, archived
):
    settings.OUTBOX_STREAM_RETENTION = timedelta(milliseconds=1)
    settings.OUTBOX_RETENTION = timedelta(days=7) if archived else None
    projection = consuming.projection()
    subscribed["titles"] = projection
    consuming.publish_notes(5)
    consuming.drain(projection)
    time.sleep(0.01)
    [report] = trimming.trim()
    assert (report.trimmed, report.length) == (15, 0)
    before = consuming.seen_by_all()
    if archived:
        assert rebuild(projection).events == 15
    else:
        with pytest.raises(RebuildRefused, match="Events of 5 aggregates are missing"):
            rebuild(projection)
    assert consuming.seen_by_all() == before
