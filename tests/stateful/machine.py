"""A state machine over an event's whole way: commands, relays, consumers, people, and accidents.

Everything runs in one process and one thread. A process that dies is an exception that nothing
catches, at one of the `points`; two that run at once are one that runs while the other is held
there. Time is the machine's own, and passes when it says so.
"""

from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from itertools import count
from unittest import mock

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from outbox import (
    clock,
    connections,
    context,
    dead_letter_actions,
    dead_letters,
    operations,
    publishers,
    replay,
)
from outbox.conf import conf
from outbox.discovery import messaging
from outbox.errors import (
    AggregateNotFound,
    AlreadyHandled,
    BrokerUnavailable,
    ConcurrencyError,
    PublishError,
    Superseded,
)
from outbox.relay import Relay
from outbox.replay import Selection
from tests import notes
from tests.integration.outbox.consuming import Stage
from tests.stateful import points
from tests.stateful.points import Points
from tests.stateful.world import TOPICS, World, check_complete, check_effects, check_ways

NOTES = st.sampled_from(["n1", "n2", "n3"])
NUMBERS = st.integers(0, 9)
#: What a command does to a note.
ACTS = st.lists(st.sampled_from(["write", "write", "share", "read"]), min_size=1, max_size=3)
#: Commands that come again under the id they had before.
MESSAGE_IDS = st.one_of(st.none(), st.sampled_from(["c1", "c2", "c3"]))

#: Seconds before something is done: more than a lease, none, or more than any backoff.
WAITS = st.sampled_from([6, 0, 400])


class WholeWay(RuleBasedStateMachine):
    """Subclasses say which kinds of subscribers there are; mongomock has no transactions."""

    kinds: tuple[str, ...] = ("embedded", "recorded")

    def __init__(self):
        super().__init__()
        _empty(connections.database(), connections.redis_client())
        self.began, self.passed = datetime.now(UTC).replace(microsecond=0), timedelta()
        self.points, self.world = Points(), World(connections.redis_client())
        self.publisher = points.Publisher(self.points)
        self.repository, self.labels = notes.repository(), count(1)
        self.handled, self.failing, self.consumed = set(), frozenset(), []
        self.stages = {
            # One makes a dead letter of an event at once, the others defer it first.
            kind: Stage(kind, self.before, name=kind, max_attempts=1 + number)
            for number, kind in enumerate(self.kinds)
        }
        self.patches = ExitStack()
        self.patches.enter_context(self.points.watched())
        declared = {name: stage.subscriber for name, stage in self.stages.items()}
        self.patches.enter_context(mock.patch.dict(messaging().subscribes, declared))
        for owner, name, new in (
            (clock, "now", lambda database: self.began + self.passed),
            (publishers, "configured", lambda: self.publisher),
            (replay, "PAGE", 2),
            (operations, "collections", lambda: ["notes"]),
        ):
            self.patches.enter_context(mock.patch.object(owner, name, new))

    def before(self, event, delivery):
        if delivery.aggregate_id in self.failing:
            raise ValueError("It can't be handled.")

    # --- commands

    @initialize(acts=ACTS)
    def first(self, acts):
        self.command("n1", acts, None)

    @rule(note_id=NOTES, acts=ACTS, message_id=MESSAGE_IDS)
    def command(self, note_id, acts, message_id):
        repeats = (note_id, message_id) in self.handled
        try:
            with context.handling(message_id) if message_id else ExitStack():
                self.change(note_id, acts)
        except AlreadyHandled:
            assert repeats
        else:
            assert not repeats
            if message_id:
                self.handled.add((note_id, message_id))

    @rule(note_id=NOTES, acts=ACTS, others=ACTS)
    def two_commands_at_once(self, note_id, acts, others):
        try:
            rival = self.repository.get(note_id)
        except AggregateNotFound:
            return
        self.change(note_id, acts)
        told = self.act(rival, others)
        try:
            self.repository.save(rival)
        except ConcurrencyError:
            return
        self.tell(note_id, told)

    def change(self, note_id, acts):
        try:
            note, store = self.repository.get(note_id), self.repository.save
        except AggregateNotFound:
            note, store = notes.Note(note_id), self.repository.add
        told = self.act(note, acts)
        store(note)
        self.tell(note_id, told)

    def act(self, note, acts):
        """Have it done; what each topic is to be told of it."""
        told = []
        for act in acts:
            number = next(self.labels)
            if act == "write":
                note.write(f"text {number}")
                told += [("notes", f"text {number}"), ("notes-internal", f"text {number}")]
            elif act == "share":
                note.share(f"offer {number}", f"offer {number}, too")
                told += [("notes", f"offer {number}"), ("notes", f"offer {number}, too")]
            else:
                note.read()
        return told

    def tell(self, note_id, told):
        for topic, text in told:
            self.world.told[note_id, topic].append(text)

    # --- relays

    @precondition(lambda self: self.world.waiting)
    @rule(wait=WAITS, accident=st.sampled_from(points.RELAY_ACCIDENTS), note_id=NOTES, acts=ACTS)
    def relay(self, wait, accident, note_id, acts):
        """A relay sweeps; meanwhile, it may be, there is an accident, or somebody does something.

        It is "overtaken" if it is paused, its lease passes, and another relays the same and more.
        """
        self.time_passes(wait)
        what, point = accident

        def meanwhile():
            if what == "dies":
                self.points.die()
            elif what == "broker gone":
                raise BrokerUnavailable
            elif what == "retry":
                self.decide("retry", len(acts))
            else:
                self.command(note_id, acts, None)
                if what == "overtaken":
                    self.time_passes(conf.LEASE + 1)
                    self.sweep()

        with self.points.at(point, meanwhile), suppress(BrokerUnavailable):
            self.sweep()

    def sweep(self):
        Relay("notes", publisher=self.publisher).sweep()

    # --- the broker

    @rule(topic=st.sampled_from(TOPICS))
    def broker_refuses(self, topic):
        if topic not in self.world.refused:
            if self.world.redis.exists(topic):
                self.world.redis.rename(topic, f"set aside:{topic}")
            self.world.redis.set(topic, "something else")
            self.world.refused.add(topic)

    @precondition(lambda self: self.world.refused)
    @rule()
    def broker_accepts(self):
        for topic in self.world.refused:
            self.world.redis.delete(topic)
            if self.world.redis.exists(f"set aside:{topic}"):
                self.world.redis.rename(f"set aside:{topic}", topic)
        self.world.refused.clear()

    @precondition(lambda self: self.world.published and "notes" not in self.world.refused)
    @rule(number=NUMBERS)
    def entry_is_duplicated(self, number):
        if entries := self.world.redis.xrange("notes"):
            self.world.redis.xadd("notes", entries[number % len(entries)][1])

    @precondition(lambda self: self.world.published and not self.world.refused)
    @rule()
    def streams_are_lost(self):
        self.world.redis.delete(*TOPICS)
        self.world.lost = self.world.mixed_up = True

    # --- people

    @precondition(lambda self: self.world.waiting)
    @rule(verb=st.sampled_from(["retry", "discard"]), number=NUMBERS)
    def decide(self, verb, number):
        """Somebody decides about a message that waits."""
        waiting = [(*key, entry) for key, some in self.world.pending().items() for entry in some]
        if not waiting:
            return
        note_id, topic, entry = waiting[number % len(waiting)]
        if verb == "retry":
            operations.retry([f"{entry['event_id']}/notes/{note_id}"], by="kim")
            return
        self.time_passes(conf.LEASE + 1)  # it waits for that of a dead relay
        operations.discard([f"{entry['event_id']}/notes/{note_id}"], reason="wrong", by="kim")
        self.world.discarded.add((note_id, topic, entry["sequence"]))
        if (note_id, topic, entry["sequence"]) not in self.world.published:
            self.world.buried.add((note_id, topic, entry["sequence"]))

    @precondition(lambda self: self.world.published)
    @rule(
        note_id=st.one_of(st.none(), NOTES),
        topic=st.sampled_from([None, *TOPICS]),
        point=st.sampled_from([None, "found", "half published", "published"]),
    )
    def replay(self, note_id, topic, point):
        """Somebody replays the archive, all or a part of it; at `point` the command is killed."""
        with self.points.at(point, self.points.die), suppress(PublishError):
            replay.replay(Selection(aggregate_id=note_id, topic=topic))
            if note_id is topic is None:
                self.world.lost = False

    @precondition(lambda self: any(True for _ in dead_letters.ids()))
    @rule(verb=st.sampled_from(["replay", "discard"]))
    def dead_letters(self, verb):
        """Somebody decides about each subscriber's oldest dead letter."""
        for kind in self.kinds:
            for letter_id in list(dead_letters.ids(kind))[:1]:
                if verb == "replay":
                    dead_letter_actions.replay([letter_id], by="somebody")
                else:
                    dead_letter_actions.discard([letter_id], reason="wrong", by="somebody")

    # --- consumers

    @precondition(lambda self: self.something_to_consume())
    @rule(
        wait=WAITS,
        accident=st.sampled_from(points.CONSUMER_ACCIDENTS),
        failing=st.one_of(st.just(frozenset()), st.frozensets(NOTES)),
    )
    def consume(self, wait, accident, failing):
        """Each subscriber consumes; its consumer may die, or be paused and overtaken.

        Its handlers fail on the events of the notes in `failing`.
        """
        self.time_passes(wait)
        self.failing = failing
        what, point = accident
        if what != "dies":
            self.consumed = self.world.redis.xrevrange("notes", count=1)
        for stage in self.stages.values():

            def meanwhile(stage=stage):
                self.world.interrupted.add(stage)
                if what == "dies":
                    self.points.die()
                self.time_passes(conf.LEASE + 1)
                stage.drain()

            with self.points.at(point, meanwhile), suppress(Superseded):
                stage.drain()

    def something_to_consume(self):
        """Not if a topic's key is occupied: then a consumer fails as well, and learns nothing."""
        if "notes" in self.world.refused:
            return False
        added = self.world.redis.xrevrange("notes", count=1)
        return added != self.consumed or any(connections.database()["outbox_deferred"].find())

    def time_passes(self, seconds):
        self.passed += timedelta(seconds=seconds)

    # --- what holds

    @invariant()
    def no_event_is_lost_or_out_of_order(self):
        check_ways(self.world)

    @invariant()
    def each_has_its_effect_once(self):
        for stage in self.stages.values():
            check_effects(self.world, stage)

    def teardown(self):
        try:
            self.finish()
            check_ways(self.world)
            check_complete(self.world, self.stages.values())
        finally:
            self.patches.close()

    def finish(self):
        """Mend everything and let time pass until nothing is left to do."""
        self.broker_accepts()
        self.failing = frozenset()
        if self.world.lost:
            self.replay(None, None, None)
        for _ in range(20):
            self.time_passes(1000)
            self.sweep()
            for stage in self.stages.values():
                for letter_id in list(dead_letters.ids(stage.kind)):
                    dead_letter_actions.replay([letter_id], by="somebody")
                stage.drain()
            left = connections.database()["outbox_deferred"].count_documents({})
            if not left and not any(self.world.pending().values()):
                return


def _empty(database, redis):
    redis.flushdb()
    for name in database.list_collection_names():
        database[name].delete_many({})
