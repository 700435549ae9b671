"""The embedded effect on a document that many others change before an event comes again."""

import threading
from collections import Counter

import pytest

from outbox import MessageBus, connections
from outbox.consumer_group import ConsumerGroup
from outbox.errors import StoreUnavailable, Superseded
from tests import notes
from tests.integration.outbox.consuming import (
    Append,
    Copying,
    Stage,
    add,
    event,
    letters,
    replay,
    waiting,
)

OTHERS = 120


class Death(BaseException):
    """Ends a consumer as SIGKILL does: nothing that comes after it is done, its lease apart."""


@pytest.fixture(autouse=True)
def _forgetful(settings):
    settings.OUTBOX_HANDLED = 5
    settings.OUTBOX_BACKOFF = 0.01
    settings.OUTBOX_BACKOFF_MAX = 0.02


class Hot(Stage):
    """All events change the same documents, one after the other."""

    def __init__(self, *targets):
        super().__init__("embedded", handlers={notes.NotePublished: self.handler})
        self.targets = targets
        self.breaks = False
        self.copying = Copying()
        self.bus = MessageBus({Append: self.append})

    def handler(self, event, delivery):
        text = f"{delivery.aggregate_id}:{delivery.sequence}"
        return [Append(target=target, text=text) for target in self.targets]

    def append(self, command):
        if self.breaks and command.target == "second":
            raise ValueError("it breaks")
        self.copying.append(command)

    def dies_after(self, effects):
        """A consumer works until so many effects have been had, and dies."""
        handle, had = self.bus.handle, Counter()

        def dying(command, **more):
            handle(command, **more)
            had.update(["effects"])
            if had.total() == effects:
                raise Death

        consumer = self.consumer()
        self.bus.handle = dying
        try:
            with pytest.raises(Death):
                consumer.drain()
        finally:
            self.bus.handle = handle


def had(target="hot"):
    """How often each event had its effect on a document."""
    return Counter(connections.database()["notes"].find_one({"_id": target})["text"].split())


def once(*prefixes, many=OTHERS):
    return Counter(f"{prefix}{number}:1" for prefix in prefixes for number in range(many))


def events(prefix, many=OTHERS):
    return [event(f"{prefix}{number}", 1) for number in range(many)]


def test_what_a_dead_consumer_has_not_noted_is_not_done_again_after_an_older_backlog(mongo, redis):
    hot = Hot("hot")
    add(redis, *events("a"))
    hot.dies_after(10)
    add(redis, *events("b"))
    # Takes over the backlog of the first, and leaves effects that aren't noted behind it.
    hot.dies_after(105)
    hot.finish(within=30)
    assert had() == once("a", "b")
    assert letters() == []


def test_what_an_error_left_without_a_note_is_remembered_though_it_is_put_off_again(
    mongo, redis, monkeypatch
):
    hot = Hot("hot")
    add(redis, *(event(f"a{number}", 1) for number in range(15)))
    add(redis, *(event(f"a{number}", one) for number in range(15) for one in (2, 3, 4)))
    consumer = hot.consumer()
    keep = consumer.lease.keep

    def away():
        if len(connections.database()["notes"].find_one({"_id": "hot"})["text"].split()) == 15:
            raise StoreUnavailable("gone")
        return keep()

    hot.bus.handle(Append(target="hot", text="direct"))
    monkeypatch.setattr(consumer.lease, "keep", away)
    with pytest.raises(StoreUnavailable):
        consumer.drain()
    monkeypatch.setattr(consumer.lease, "keep", keep)
    # It is told to stop when it goes through them again.
    runner = consumer._runner
    handle = runner._handle
    monkeypatch.setattr(runner, "_handle", lambda *args: (consumer.stop(), handle(*args))[1])
    consumer.drain()
    hot.finish(within=30)
    every = Counter(f"a{number}:{one}" for number in range(15) for one in (1, 2, 3, 4))
    assert had() == every + Counter(["direct"])


def test_an_event_that_fails_after_its_first_command_is_remembered_until_it_is_done(
    mongo, redis, settings
):
    settings.OUTBOX_BACKOFF = settings.OUTBOX_BACKOFF_MAX = 0.5
    hot = Hot("first", "second")
    hot.breaks = True
    add(redis, event("broken", 1))
    hot.drain()
    hot.breaks = False
    add(redis, *events("a"))
    hot.finish(within=30)
    assert had("first") == had("second") == once("a") + Counter(["broken:1"])


def test_a_dead_letter_is_replayed_without_repeating_the_command_that_had_worked(
    mongo, redis, settings
):
    settings.OUTBOX_MAX_ATTEMPTS = 1
    hot = Hot("first", "second")
    hot.breaks = True
    add(redis, event("broken", 1))
    hot.drain()
    [letter] = letters()
    hot.breaks = False
    # Another consumer, which knows of it from the dead letters only.
    add(redis, *events("a"))
    hot.finish(within=30)
    replay(letter["_id"])
    hot.finish(within=30)
    assert had("first") == had("second") == once("a") + Counter(["broken:1"])


@pytest.mark.parametrize("pause", ["before it loads", "before it saves"])
def test_a_consumer_that_is_paused_in_a_command_and_taken_over_from_has_no_effect(
    mongo, redis, settings, monkeypatch, pause
):
    settings.OUTBOX_LEASE = 0.3
    hot, stopped, go_on = Hot("hot"), threading.Event(), threading.Event()
    add(redis, *events("a"))
    hot.drain()
    repository = type(notes.repository())
    name = "get" if pause == "before it loads" else "save"
    original = getattr(repository, name)

    def pausing(*args, **more):
        if threading.current_thread().name == "paused" and not stopped.is_set():
            stopped.set()
            assert go_on.wait(30)
        return original(*args, **more)

    monkeypatch.setattr(repository, name, pausing)
    add(redis, *events("b"))
    errors = []

    def work():
        try:
            paused.drain()
        except Superseded as error:
            errors.append(error)

    paused = hot.consumer()
    thread = threading.Thread(target=work, name="paused")
    thread.start()
    assert stopped.wait(10)
    other = Hot("hot")
    while had() != once("a", "b"):
        other.drain()
    go_on.set()
    thread.join(30)
    other.finish()
    assert had() == once("a", "b")
    assert len(errors) == 1


def test_a_document_remembers_of_each_stream_no_more_than_it_must(mongo, redis):
    hot = Hot("hot")
    add(redis, *events("a"))
    hot.drain()
    outbox = connections.database()["notes"].find_one({"_id": "hot"})["outbox"]
    assert {key: len(ids) for key, ids in outbox["consumed"].items()} == {"titles:notes": 20}
    assert outbox["consumed"]["titles:notes"][-5:] == outbox["handled"]
    assert waiting() == []


def test_the_commands_of_others_are_remembered_as_before(mongo, redis):
    Copying().bus.handle(Append(target="hot", text="direct"), message_id="m1")
    outbox = connections.database()["notes"].find_one({"_id": "hot"})["outbox"]
    assert outbox["handled"] == ["m1"]
    assert "consumed" not in outbox


def test_what_comes_early_in_a_later_batch_of_a_claim_is_remembered_too(
    mongo, redis, settings, monkeypatch
):
    settings.OUTBOX_CONSUMER_BATCH = 40
    hot = Hot("hot")
    hot.drain()
    # A paused consumer is given events long after it was taken over from.
    add(redis, *events("g", 30))
    redis.xreadgroup("titles", "paused", {"notes": ">"}, count=30)
    add(redis, *events("a", 10), *(event(f"a{number}", 2) for number in range(5)))
    with monkeypatch.context() as before:
        before.setattr(ConsumerGroup, "claim", lambda *_: iter(()))
        hot.dies_after(15)
    # These 15 lie in two batches of the claim: numbers 2 come before the numbers 1 are handled.
    add(redis, *events("z", 60))
    hot.finish(within=30)
    second = Counter(f"a{number}:2" for number in range(5))
    assert had() == once("g", many=30) + once("a", many=10) + second + once("z", many=60)


def test_who_takes_over_with_events_in_hand_knows_first_what_the_dead_one_had_begun(mongo, redis):
    hot = Hot("hot")
    hot.drain()
    superseded, read = hot.consumer(), []
    add(redis, *events("a", 10))
    handle = hot.bus.handle

    def reading(command, **more):
        if not read:
            # It reads some when it has long been taken over from.
            add(redis, *events("b"))
            read.extend(superseded._group.read(500, 0))
        handle(command, **more)

    hot.bus.handle = reading
    hot.dies_after(10)
    hot.bus.handle = handle
    superseded.drain()
    hot.finish(within=30)
    assert had() == once("a", many=10) + once("b")
