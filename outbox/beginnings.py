"""Beginnings: where a subscriber comes in that hasn't had a topic from its first event on.

That is one that `start`s "now", and one whose group came when the topic had been trimmed already.
It begins each aggregate with the first event that it sees of it, whatever its number: since events
are published in the order of their numbers, what is before that isn't on the stream any more. The
aggregate's cursor is set to the number before, and from there on a gap is a gap.

What trimming leaves behind to tell by (see `trimming`), in the same Redis as the streams:

    outbox:trimmed:<topic>  a set: the groups that were there whenever something was trimmed, which
                            have missed nothing; and '', so that it is there with none of them
"""

from collections.abc import Iterable, Sequence
from functools import cached_property

from outbox import connections, deferred, inbox, streams
from outbox.conf import conf
from outbox.consumer_group import ConsumerGroup
from outbox.delivery import Delivery
from outbox.subscriber import Subscriber


def trimmed_key(topic: str) -> str:
    """The set of the groups that have missed nothing of a topic that was trimmed."""
    return f"outbox:trimmed:{conf.STREAM_PREFIX}{topic}"


class Beginnings:
    """Those of one consumer, which has the lease."""

    def __init__(
        self, subscriber: Subscriber, group: ConsumerGroup, cursors: inbox.Cursors
    ) -> None:
        self._subscriber = subscriber
        self._group = group
        self._cursors = cursors

    def begin(self, events: Iterable[Delivery]) -> None:
        """Let aggregates without a cursor begin with the first of these events, if they may.

        `events` are in the order of the stream, and their cursors have just been asked for. Raises
        `BrokerUnavailable`.
        """
        name, topic = self._subscriber.name, self._subscriber.topic
        firsts: dict[str, int] = {}
        for event in events:
            firsts.setdefault(event.aggregate_id, event.sequence)
        before = {
            one: number - 1
            for one, number in firsts.items()
            if number > 1 and one not in self._cursors
        }
        if not before or not self._may_begin():
            return
        # One that waits to be tried again has no cursor yet, if it is an aggregate's number 1.
        waiting = self._first_deferred(before)
        before = {one: last for one, last in before.items() if waiting.get(one, last + 1) > last}
        # Dying after this: those events are delivered again, and in turn.
        inbox.begin(name, topic, before)
        self._cursors.look_up(before, afresh=True)

    def _may_begin(self) -> bool:
        """Whether what is seen first is the earliest there is."""
        with connections.broker_errors("Redis can't be asked what was trimmed"):
            return self._comes_late() and self._has_all_before()

    def _comes_late(self) -> bool:
        if self._subscriber.start == "now":
            return True
        members = ["", self._subscriber.name]
        trimmed, whole = connections.redis_client().smismember(
            trimmed_key(self._subscriber.topic), members
        )
        return bool(trimmed and not whole)

    def _has_all_before(self) -> bool:
        """Not while an earlier event may be in the hands of a consumer that was paused or has died,
        or on a stream of an earlier `OUTBOX_TOPICS`: it would be taken for a repeat."""
        stream, group = self._group.stream, self._group.group
        holders = connections.redis_client().xpending(stream, group)["consumers"]
        mine = self._group.consumer.encode()
        if any(one["name"] != mine for one in holders):
            return False
        return all(_is_finished(one, group) for one in self._old_streams if one != stream)

    @cached_property
    def _old_streams(self) -> Sequence[str]:
        return streams.left_over(self._subscriber.topic)

    def _first_deferred(self, aggregate_ids: Iterable[str]) -> dict[str, int]:
        """The lowest number that is deferred of each of the aggregates, on whatever stream."""
        found = connections.collection(deferred.COLLECTION).aggregate(
            [
                {
                    "$match": {
                        "subscriber": self._subscriber.name,
                        "stream": {
                            "$in": [
                                *streams.streams_of(self._subscriber.topic),
                                *self._old_streams,
                            ]
                        },
                        "aggregate_id": {"$in": list(aggregate_ids)},
                        "replays": None,
                    }
                },
                {"$group": {"_id": "$aggregate_id", "first": {"$min": "$sequence"}}},
            ]
        )
        return {one["_id"]: one["first"] for one in found}


def _is_finished(stream: str, group: str) -> bool:
    """Whether the group has acknowledged all of the stream."""
    redis = connections.redis_client()
    if not redis.xlen(stream):
        return True
    for one in redis.xinfo_groups(stream):
        if one["name"] == group.encode():
            after = f"({one['last-delivered-id'].decode()}"
            return not (one["pending"] or redis.xrange(stream, min=after, count=1))
    return False
