"""The Redis Streams publisher: a topic is a stream or several, a batch one pipeline."""

from collections.abc import Sequence
from itertools import chain
from typing import Any

from redis.exceptions import RedisError

from outbox import connections
from outbox.envelope import Envelope
from outbox.errors import BrokerUnavailable
from outbox.publishers import durability, idempotence, unconfirmed
from outbox.publishers.adding import Added, Addition, add
from outbox.publishers.base import Outcome, envelope_function, framed
from outbox.streams import naming


class RedisStreamPublisher:
    """Adds each message to the stream that `outbox.streams` names, in a field named `event`.

    A batch is one round trip, the wait for `OUTBOX_REDIS_DURABILITY` included; the first of a
    process, and one after a failure, may take some more. An answer that doesn't come leaves the
    outcome unknown, which is said (`BrokerUnavailable`) and never papered over by sending again.
    """

    def publish(self, groups: Sequence[Sequence[Envelope]]) -> list[Outcome]:
        client, to_json, stream_of = connections.redis_client(), envelope_function(), naming()
        frames = [framed(group, to_json) for group in groups]
        keys = [
            [stream_of(one.topic, one.aggregate_id) for one in group[: len(texts)]]
            for group, (texts, _) in zip(groups, frames, strict=True)
        ]
        try:
            durability.ensure(client)
            # Of each group, how many were added before and are as durable as is asked for by now.
            there = [
                unconfirmed.take(client, streams, texts)
                for streams, (texts, _) in zip(keys, frames, strict=True)
            ]
            once = idempotence.prepare(client, chain.from_iterable(keys))
            additions = [
                _addition(group, streams, texts, first, once)
                for group, streams, (texts, _), first in zip(
                    groups, keys, frames, there, strict=True
                )
            ]
            added = _add(client, additions)
        except RedisError as error:
            _forget(client)
            raise BrokerUnavailable(f"Redis can't be reached: {error}") from error
        if any(isinstance(one.error, BrokerUnavailable) for one in added.outcomes):
            _forget(client)
        outcomes = [
            Outcome(first + one.published, one.error or flaw)
            for first, one, (_, flaw) in zip(there, added.outcomes, frames, strict=True)
        ]
        if any(one.published for one in added.outcomes):
            try:
                durability.confirm(client, added.answers)
            except BrokerUnavailable as short:
                _remember(client, additions, added)
                if not any(there):
                    raise
                return [
                    Outcome(first, short) if one.published else outcome
                    for first, one, outcome in zip(there, added.outcomes, outcomes, strict=True)
                ]
        return outcomes


def _addition(
    group: Sequence[Envelope], streams: list[str], texts: list[str], first: int, once: bool
) -> Addition:
    """A group's messages from the `first` on, up to the one that can't be framed."""
    envelopes = group[first : len(texts)]
    ids = [idempotence.once_id(one) if once else "" for one in envelopes]
    producer = idempotence.producer(group[0].aggregate_id) if once else ""
    return Addition(streams[first:], texts[first:], ids, producer)


def _add(client: Any, additions: Sequence[Addition]) -> Added:
    """Add those that aren't empty; an outcome of each."""
    some = [one for one in additions if one.texts]
    if not some:
        return Added([Outcome(0)] * len(additions), None, ())
    added = add(client, some)
    outcomes = iter(added.outcomes)
    return added._replace(
        outcomes=[next(outcomes) if one.texts else Outcome(0) for one in additions]
    )


def _remember(client: Any, additions: Sequence[Addition], added: Added) -> None:
    """What is on the stream, if it is known of which history, needn't be added again."""
    if added.history is None:
        return
    for one, outcome in zip(additions, added.outcomes, strict=True):
        texts = one.texts[: outcome.published]
        unconfirmed.remember(client, added.history, one.streams[: len(texts)], texts)


def _forget(client: Any) -> None:
    """Another server may answer from now on: what is known of this one is asked anew."""
    durability.forget(client)
    idempotence.forget(client)
    unconfirmed.forget(client)
