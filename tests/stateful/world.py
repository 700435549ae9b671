"""The world of the state machine: what was asked for, and what documents, streams and effects say.

What was asked for is written down by the machine itself, from commands that succeeded; nothing of
the outbox's own is believed.
"""

import json
from collections import defaultdict

from outbox import connections, dead_letters

#: The topics of the notes, in which each aggregate's events are numbered.
TOPICS = ("notes", "notes-internal")
#: Where a topic's stream lies while its key is occupied, so that Redis refuses to add to it.
SET_ASIDE = "set aside:"


class World:
    def __init__(self, redis):
        self.redis = redis
        #: What each event says, in order, by (aggregate id, topic).
        self.told = defaultdict(list)
        #: The events that were discarded, as (aggregate id, topic, number).
        self.discarded = set()
        #: Those of them that no relay had published until then, not even one that died.
        self.buried = set()
        #: Of those, the ones that had been published as they were before, or were on their way.
        self.published = set()
        #: The topics that Redis has no room for: something else lies at their streams' keys.
        self.refused = set()
        #: Whether the streams were lost and haven't been replayed yet.
        self.lost = False
        #: Whether they ever were: a replay then comes behind what was published before it.
        self.mixed_up = False
        #: Whether anything was pending at the last look.
        self.waiting = False
        #: The stages whose consumers died or were overtaken.
        self.interrupted = set()

    def documents(self):
        found = connections.database()["notes"].find({"_id": {"$regex": "^n"}})
        return {one["_id"]: one for one in found}

    def pending(self):
        """The messages that wait, by (aggregate id, topic)."""
        found = defaultdict(list)
        for aggregate_id, document in self.documents().items():
            for entry in document["outbox"]["pending"]:
                found[aggregate_id, entry["topic"]].append(entry)
        return found

    def key(self, topic):
        return SET_ASIDE + topic if topic in self.refused else topic

    def streamed(self):
        """The envelopes on the streams, repeats included, by (aggregate id, topic)."""
        found = defaultdict(list)
        for topic in TOPICS:
            for _, fields in self.redis.xrange(self.key(topic)):
                envelope = json.loads(fields[b"event"])
                found[envelope["aggregateId"], topic].append(envelope)
        return found

    def letters(self, subscriber):
        """The subscriber's dead letters of any state: (aggregate id, number) to state."""
        found = connections.database()[dead_letters.COLLECTION].find({"subscriber": subscriber})
        return {(one["aggregate_id"], one["sequence"]): one["state"] for one in found}


def check_ways(world):
    """Each event is pending, or on its stream, or both; in order, once; and says what it said."""
    pending, streamed = world.pending(), world.streamed()
    world.waiting = any(pending.values())
    assert set(pending) | set(streamed) <= set(world.told)
    for place, told in world.told.items():
        waiting = [entry["sequence"] for entry in pending[place]]
        assert waiting == sorted(set(waiting)), f"{place}: {waiting} wait"
        first, ids = {}, {}
        for envelope in streamed[place]:
            number = envelope["sequenceNumber"]
            first.setdefault(number, envelope)
            # A repeat is one: the same event.
            assert ids.setdefault(number, envelope["eventId"]) == envelope["eventId"]
            if envelope["payload"] is not None:
                assert (*place, number) not in world.buried
                world.published.add((*place, number))
        if not world.mixed_up:
            assert list(first) == list(range(1, len(first) + 1)), f"{place}: {list(first)} came"
        for entry in pending[place]:
            assert ids.setdefault(entry["sequence"], entry["event_id"]) == entry["event_id"]
        if not world.lost:
            assert set(ids) == set(range(1, len(told) + 1)), f"{place}: {sorted(ids)} of {told}"
        payloads = [(one["sequenceNumber"], one["payload"]) for one in first.values()]
        payloads += [(one["sequence"], json.loads(one["payload"])) for one in pending[place]]
        for number, payload in payloads:
            if payload is None:
                assert (*place, number) in world.discarded
            else:
                assert told[number - 1] in payload.values()


def check_effects(world, stage):
    """Each event has its effect once, in order; a recorded one may have it again by accident."""
    letters = world.letters(stage.subscriber.name)
    for aggregate_id, numbers in stage.seen().items():
        if stage.kind == "recorded" and stage in world.interrupted:
            numbers = list(dict.fromkeys(numbers))
        assert len(set(numbers)) == len(numbers), f"{stage.kind}: {aggregate_id} saw {numbers}"
        # A dead letter that is replayed has lost its place.
        in_turn = [one for one in numbers if (aggregate_id, one) not in letters]
        assert in_turn == sorted(in_turn), f"{stage.kind}: {aggregate_id} saw {numbers}"
        assert numbers == [] or max(numbers) <= len(world.told[aggregate_id, "notes"])


def check_complete(world, stages):
    """Nothing is left to do, and everything that was to happen has happened."""
    assert not any(world.pending().values())
    database = connections.database()
    assert list(database["outbox_deferred"].find()) == []
    for stage in stages:
        letters, seen = world.letters(stage.subscriber.name), stage.seen()
        assert set(letters.values()) <= {"replayed", "discarded"}
        for (aggregate_id, topic), told in world.told.items():
            if topic != "notes":
                continue
            had = set(seen.get(aggregate_id, ()))
            for number, text in enumerate(told, 1):
                if text.startswith("offer"):
                    # Nobody has a handler for these.
                    assert number not in had
                elif (aggregate_id, topic, number) in world.discarded:
                    # Whoever had it before it was discarded has had its effect.
                    if (aggregate_id, topic, number) in world.published:
                        continue
                    assert number not in had
                elif letters.get((aggregate_id, number)) != "discarded":
                    assert number in had, f"{stage.kind}: {aggregate_id} lacks {number}, has {had}"
    for aggregate_id, document in world.documents().items():
        told = {topic: len(world.told[aggregate_id, topic]) for topic in TOPICS}
        assert document["outbox"]["sequences"] == {t: n for t, n in told.items() if n}
