"""Several consumers, and processes that die, are stopped or lose their lease."""

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from outbox import connections
from outbox.lease import Lease
from outbox.rebuild import rebuild
from tests.integration.outbox import consuming
from tests.integration.outbox.consuming import (
    Stage,
    add,
    child,
    event,
    eventually,
    letters,
    waiting,
)
from tests.integration.outbox.test_consumer_failures import failing

pytestmark = pytest.mark.usefixtures("mongo")


@pytest.fixture(autouse=True)
def _quick(settings):
    settings.OUTBOX_BACKOFF, settings.OUTBOX_BACKOFF_MAX = 0.01, 0.02
    settings.OUTBOX_MAX_ATTEMPTS = 3
    settings.OUTBOX_LEASE = 0.5


KILLER = """
def before(event, delivery):
    if event.note_text == "poison":
        os._exit(9)
stage = Stage("KIND", before)
deadline = time.monotonic() + 8
while time.monotonic() < deadline:
    stage.drain()
    if not consuming.waiting() and consuming.letters():
        break
    time.sleep(0.02)
"""


@pytest.mark.parametrize("kind", ["embedded", "projection"])
def test_what_kills_the_process_is_given_up_after_so_many_processes_and_costs_nobody_else(
    redis, kind
):
    add(redis, event("n0", 1), event("n1", 1), event("n2", 1, text="poison"), event("n2", 2))
    add(redis, *(event(f"n{number}", 1) for number in range(3, 8)))
    deaths = 0
    for _ in range(5):
        process = child(KILLER.replace("KIND", kind))
        process.communicate(timeout=15)
        if process.returncode == 0:
            break
        assert process.returncode == 9
        deaths += 1
        time.sleep(0.5)
    assert deaths == 3
    [letter] = letters()
    assert (letter["aggregate_id"], letter["sequence"]) == ("n2", 1)
    assert (letter["error_type"], letter["attempts"]) == ("ProcessDied", 3)
    expected = {f"n{one}": [1] for one in range(8)} | {"n2": [2]}
    assert Stage(kind).seen() == expected
    assert waiting() == []


def test_between_one_death_and_the_next_others_are_handled(redis, settings):
    settings.OUTBOX_MAX_ATTEMPTS = 10
    add(redis, event("n1", 1, text="poison"))
    for number in range(4):
        add(redis, event(f"m{number}", 1))
        process = child(KILLER.replace("KIND", "projection"))
        process.communicate(timeout=15)
        assert process.returncode == 9
        time.sleep(0.5)
    assert Stage("projection").seen().keys() >= {"m1", "m2", "m3"}


def test_what_kills_its_last_process_is_known_as_a_dead_letter_at_once(redis, settings):
    settings.OUTBOX_MAX_ATTEMPTS = 2
    settings.OUTBOX_BACKOFF = settings.OUTBOX_BACKOFF_MAX = 1000
    add(redis, event("n2", 1, text="poison"))
    for returncode in (9, 9, 0):
        process = child(KILLER.replace("KIND", "projection"))
        process.communicate(timeout=15)
        assert process.returncode == returncode
        time.sleep(0.5)
    [letter] = letters()
    assert (letter["error_type"], letter["attempts"]) == ("ProcessDied", 2)


@pytest.mark.parametrize("kind", ["embedded", "projection"])
def test_what_a_dead_consumer_has_left_is_tried_together_first(
    redis, settings, commands, monkeypatch, kind
):
    settings.OUTBOX_MAX_ATTEMPTS = 10
    stage = Stage(kind)
    add(redis, *(event(f"n{number}", one) for one in (1, 2, 3) for number in range(30)))
    dead = stage.consumer()
    dead._group.create(from_now=False)
    assert len(dead._group.read(200, 0)) == 90
    commands.clear()
    stage.finish()
    changes = [name for name, _ in commands.on("outbox_deferred") if name in ("update", "delete")]
    # One counts the attempts; they are removed with the notes.
    assert len(changes) <= 1 + (90 // 20 + 1 if kind == "embedded" else 1)
    assert stage.seen() == {f"n{number}": [1, 2, 3] for number in range(30)}
    assert waiting() == letters() == []


def test_what_a_slow_consumer_has_read_ahead_is_not_taken_for_a_dead_ones(redis, settings):
    # A batch takes longer than twice the lease, an event half of it.
    settings.OUTBOX_LEASE = 0.4
    settings.OUTBOX_CONSUMER_BATCH = 5
    stage = Stage("recorded", lambda event, delivery: time.sleep(0.2))
    add(redis, *(event("n1", number) for number in range(1, 16)))
    counts = stage.drain()
    assert stage.seen() == {"n1": list(range(1, 16))}
    assert (counts["handled"], counts["deferred"], counts["repeats"]) == (15, 0, 0)


def test_of_what_is_tried_together_what_fails_waits_and_so_do_those_behind_it(redis, settings):
    settings.OUTBOX_MAX_ATTEMPTS = 10
    settings.OUTBOX_BACKOFF = settings.OUTBOX_BACKOFF_MAX = 1000
    stage = Stage("embedded", failing(ValueError("no"), ("n3", 2)))
    add(redis, *(event(f"n{number}", one) for one in (1, 2, 3) for number in range(6)))
    dead = stage.consumer()
    dead._group.create(from_now=False)
    dead._group.read(200, 0)
    stage.drain()
    assert stage.seen() == {f"n{number}": [1, 2, 3] for number in range(6) if number != 3} | {
        "n3": [1]
    }
    first, second = sorted(waiting(), key=lambda one: one["sequence"])
    assert (first["sequence"], first["attempts"], first["last_error"]) == (2, 2, "ValueError: no")
    # It has not been tried, by this one.
    assert (second["sequence"], second["attempts"]) == (3, 1)


RUNNER = """
def before(event, delivery):
    print(delivery.sequence, flush=True)
    if event.note_text == "slow":
        time.sleep(1.2)
import threading
stage = Stage("KIND", before)
consumer = stage.consumer()
threading.Thread(target=lambda: time.sleep(20) or os._exit(3), daemon=True).start()
consumer.run()
"""


def running(stage):
    consumer = stage.consumer()
    thread = threading.Thread(target=consumer.run, daemon=True)
    thread.start()

    def stop():
        consumer.stop()
        thread.join(10)
        assert not thread.is_alive()

    consumer.end = stop
    return consumer


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
@pytest.mark.parametrize("kind", ["embedded", "projection"])
def test_the_standby_takes_over_from_one_that_is_killed_or_stopped_and_nothing_is_done_twice(
    redis, kind, how
):
    add(redis, event("n1", 1), event("n1", 2, text="slow"), event("n1", 3), event("n2", 1))
    first = child(RUNNER.replace("KIND", kind))
    standby = None
    try:
        while first.stdout.readline() != "2\n":
            pass
        stage = Stage(kind)
        standby = running(stage)
        time.sleep(0.1)
        assert not standby.is_active
        began = time.monotonic()
        os.kill(first.pid, how)
        eventually(lambda: stage.seen().get("n2") and stage.seen()["n1"][-1:] == [3])
        # The lease lasts 0.5 s; the rest is for a machine that is busy with other things.
        assert time.monotonic() - began < 0.5 + 5
        if how == signal.SIGSTOP:
            os.kill(first.pid, signal.SIGCONT)
            time.sleep(0.8)
        add(redis, event("n1", 4))
        eventually(lambda: stage.seen()["n1"][-1:] == [4])
        assert stage.seen() == {"n1": [1, 2, 3, 4], "n2": [1]}
    finally:
        first.kill()
        first.communicate()
        if standby:
            standby.end()

    def finished():
        # The first may have been killed before it had noted the last event.
        stage.drain()
        return not waiting()

    eventually(finished)
    assert letters() == []


def test_the_standby_takes_over_at_once_from_one_that_is_released(redis):
    add(redis, event("n1", 1))
    one, other = running(Stage("projection")), running(Stage("projection"))
    try:
        eventually(lambda: one.is_active or other.is_active)
        active, standby = (one, other) if one.is_active else (other, one)
        time.sleep(0.1)
        assert not standby.is_active
        active.end()
        add(redis, event("n1", 2))
        eventually(lambda: Stage("projection").seen() == {"n1": [1, 2]})
        assert standby.is_active
    finally:
        one.end()
        other.end()


@pytest.mark.parametrize("kind", Stage.KINDS)
def test_a_group_that_is_lost_while_it_is_read_is_made_anew_and_nothing_is_handled_twice(
    redis, kind
):
    stage = Stage(kind, start="now")
    consumer = running(stage)
    try:
        eventually(lambda: redis.exists("notes") and redis.xinfo_groups("notes"))
        texts = [event("n1", 1), event("n1", 2)]
        add(redis, *texts)
        eventually(lambda: stage.seen() == {"n1": [1, 2]})
        redis.flushdb()
        add(redis, *texts, event("n1", 3))
        eventually(lambda: stage.seen()["n1"][-1] == 3)
        assert stage.seen() == {"n1": [1, 2, 3]}
    finally:
        consumer.end()


@pytest.mark.parametrize("broker", ["redis", "valkey"])
def test_entries_that_are_trimmed_while_they_are_pending_are_logged_and_not_fatal(
    request, broker, caplog
):
    server = request.getfixturevalue(broker)
    dead = Stage("projection").consumer()
    dead._group.create()
    add(server, event("n1", 1), event("n2", 1), event("n3", 1))
    assert len(dead._group.read(2, 0)) == 2
    server.xtrim("notes", maxlen=2, approximate=False)
    stage = Stage("projection")
    stage.drain()
    assert stage.seen() == {"n2": [1], "n3": [1]}
    assert any("was trimmed" in one.getMessage() for one in caplog.records)
    assert consuming.pending(server, "titles") == 0


def test_what_a_paused_consumer_was_given_after_it_was_taken_over_from_is_not_lost(redis):
    """Its read was still waiting in Redis when an entry came."""
    paused, stage = Stage("projection").consumer(), Stage("projection")
    paused._group.create()
    with ThreadPoolExecutor() as threads:
        given = threads.submit(paused._group.read, 10, 10.0)
        eventually(lambda: redis.info("clients")["blocked_clients"])
        consumer = running(stage)
        try:
            eventually(lambda: consumer.is_active)
            time.sleep(0.2)
            # Redis serves who has waited longest.
            add(redis, event("n1", 1))
            assert len(given.result(10)) == 1
            eventually(lambda: stage.seen() == {"n1": [1]})
        finally:
            consumer.end()


def test_a_consumer_that_holds_nothing_is_removed_long_after(redis, monkeypatch):
    Stage("projection").drain()
    add(redis, event("n1", 1))
    Stage("projection").drain()
    Stage("projection").drain()
    assert len(redis.xinfo_consumers("notes", "titles")) >= 2
    monkeypatch.setattr("outbox.consumer_group.FORGOTTEN_AFTER", 0)
    time.sleep(0.01)
    Stage("projection").drain()
    assert len(redis.xinfo_consumers("notes", "titles")) <= 1


def test_no_two_consumers_are_named_alike(redis):
    """A container's process has the same host name and number as the one before it."""
    add(redis, event("n1", 1))
    dead = Stage("projection").consumer()
    dead._group.create()
    dead._group.read(1, 0)
    consumer = Stage("projection").consumer()
    assert consumer._group.unacknowledged(10) == []


def test_stopped_in_the_middle_of_a_batch_the_event_in_hand_is_finished_and_the_rest_released(
    redis,
):
    for kind in Stage.KINDS:
        redis.flushdb()
        begun, go_on = threading.Event(), threading.Event()

        def before(event, delivery, begun=begun, go_on=go_on, kind=kind):
            if delivery.aggregate_id == f"{kind}30":
                begun.set()
                go_on.wait(5)

        stage = Stage(kind, before, name=kind)
        add(redis, *(event(f"{kind}{number}", 1) for number in range(100)))
        consumer = running(stage)
        assert begun.wait(5)
        consumer.stop()
        go_on.set()
        consumer.end()
        done = len([one for one in stage.seen() if one.startswith(kind)])
        assert 31 <= done < 60
        assert consuming.pending(redis, kind) == 0
        assert {one["attempts"] for one in waiting()} == {0}
        assert len(waiting()) == 100 - done
        stage.finish()
        mine = {one: of for one, of in stage.seen().items() if one.startswith(kind)}
        assert mine == {f"{kind}{number}": [1] for number in range(100)}


def test_a_claimed_lease_cannot_be_renewed_and_is_the_claimants_within_the_lease_time(mongo):
    held, other, claimant = (Lease(mongo, "consumer:titles:notes", 0.3) for _ in range(3))
    assert held.acquire()
    began = time.monotonic()
    claimant.claim()
    time.sleep(0.16)
    assert not held.keep()
    while not claimant.acquire():
        assert not other.acquire()
        claimant.claim()
        time.sleep(0.02)
    assert time.monotonic() - began < 0.45
    assert claimant.keep()
    assert not held.acquire()
    assert not other.acquire()
    claimant.release()
    assert other.acquire()


def test_a_claim_that_is_not_repeated_runs_out(mongo):
    one, gone = Lease(mongo, "free", 0.2), Lease(mongo, "free", 0.2)
    gone.claim()
    assert not one.acquire()
    time.sleep(0.25)
    assert one.acquire()


def test_the_lease_of_a_busy_consumer_is_kept(redis, settings, monkeypatch):
    from outbox import consumers

    settings.OUTBOX_LEASE = 0.3
    slow = lambda event, delivery: time.sleep(0.8)  # noqa: E731
    stage = Stage("recorded", slow)
    monkeypatch.setattr(consumers, "bus", lambda: stage.bus)
    add(redis, event("n1", 1))
    both = consumers.Consumers([stage.subscriber]), consumers.Consumers([stage.subscriber])
    for one in both:
        one.start()
    eventually(lambda: stage.calls)
    time.sleep(0.2)
    assert all(one.stop() for one in both)
    assert stage.calls == [("n1", 1)]
    assert connections.database()["outbox_inbox"].count_documents({}) == 1


DIES_IN_ITS_TRANSACTION = """
from outbox import inbox
note = inbox.note
def dies(name, handled, session=None):
    note(name, handled, session)
    os._exit(9)
inbox.note = dies
Stage("KIND").drain()
"""


@pytest.mark.parametrize("kind", ["projection", "session"])
def test_a_transaction_that_a_dead_consumer_has_left_open_is_in_nobodys_way(redis, kind):
    """The server would keep it, and lock what it has written, for a minute and more."""
    add(redis, event("n1", 1), event("n1", 2))
    process = child(DIES_IN_ITS_TRANSACTION.replace("KIND", kind))
    process.communicate(timeout=20)
    assert process.returncode == 9
    stage = Stage(kind)
    eventually(lambda: stage.drain() and stage.seen() == {"n1": [1, 2]}, within=5)


def test_nor_is_it_in_the_way_of_a_rebuild(redis):
    add(redis, event("n1", 1), event("n1", 2))
    process = child(DIES_IN_ITS_TRANSACTION.replace("KIND", "projection"))
    process.communicate(timeout=20)
    assert process.returncode == 9
    began, stage = time.monotonic(), Stage("projection")
    rebuild(stage.subscriber)
    assert time.monotonic() - began < 8
    assert stage.seen() == {"n1": [1, 2]}
