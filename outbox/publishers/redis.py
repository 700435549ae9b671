"""The Redis Streams publisher: a topic is a stream or several, a batch one pipeline."""

import re
from collections.abc import Sequence
from itertools import chain
from typing import Any

from redis.exceptions import (
    ConnectionError,
    MasterDownError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TimeoutError,
)

from outbox import connections
from outbox.envelope import Envelope
from outbox.errors import BrokerUnavailable, PublishError
from outbox.publishers import durability, idempotence
from outbox.publishers.base import Outcome, envelope_function, framed
from outbox.streams import naming

# Adds the messages of one aggregate in order and stops at the first that Redis refuses. A plain
# pipeline would go on to the next, and put it on the stream before the one that it follows.
# Arguments: the texts, then their ids for IDMP ('' for none), then the producer.
ADD_IN_ORDER = """
local count, producer = #KEYS, ARGV[#ARGV]
for i = 1, count do
  local text, id, added = ARGV[i], ARGV[count + i]
  if id == '' then
    added = redis.pcall('XADD', KEYS[i], '*', 'event', text)
  else
    added = redis.pcall('XADD', KEYS[i], 'IDMP', producer, id, '*', 'event', text)
  end
  if type(added) == 'table' and added.err then return {i - 1, added.err} end
end
return {count}
"""

# What Redis answers when the fault is its own state and not the message's.
BROKER_FAULTS = {
    "BUSY",
    "CLUSTERDOWN",
    "LOADING",
    "MASTERDOWN",
    "MISCONF",
    "NOAUTH",
    "NOREPLICAS",
    "READONLY",
    "TRYAGAIN",
}

# Redis 6 tells in a script's error which line it was, Redis 7 and Valkey don't.
ERROR_CODE = re.compile(r"(?:@user_script: \d+: -)?([A-Z]+)")


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
            once = idempotence.prepare(client, chain.from_iterable(keys))
            pipeline = client.pipeline(transaction=False)
            for group, streams, (texts, _) in zip(groups, keys, frames, strict=True):
                ids = [idempotence.once_id(one) if once else "" for one in group[: len(texts)]]
                _add(pipeline, streams, texts, ids, group)
            durability.ask(pipeline)
            # Dying here, or losing the answer: the messages may be on the stream and are still
            # pending; they are published again with the same ids, and the inbox absorbs them.
            answers = pipeline.execute(raise_on_error=False)
        except RedisError as error:
            _forget(client)
            raise BrokerUnavailable(f"Redis can't be reached: {error}") from error
        outcomes = [
            _outcome(answer, error)
            for answer, (_, error) in zip(answers[: len(groups)], frames, strict=True)
        ]
        if any(isinstance(outcome.error, BrokerUnavailable) for outcome in outcomes):
            _forget(client)
        if any(outcome.published for outcome in outcomes):
            durability.confirm(client, answers[len(groups) :])
        return outcomes


def _add(
    pipeline: Any,
    streams: list[str],
    texts: list[str],
    ids: list[str],
    group: Sequence[Envelope],
) -> None:
    producer = idempotence.producer(group[0].aggregate_id)
    if len(texts) == 1:
        once = ("IDMP", producer, *ids) if ids[0] else ()
        pipeline.execute_command("XADD", *streams, *once, "*", "event", *texts)
    else:
        pipeline.eval(ADD_IN_ORDER, len(streams), *streams, *texts, *ids, producer)


def _forget(client: Any) -> None:
    """Another server may answer from now on: what is known of this one is asked anew."""
    durability.forget(client)
    idempotence.forget(client)


def _outcome(answer: Any, error: PublishError | BrokerUnavailable | None) -> Outcome:
    if isinstance(answer, RedisError):
        return Outcome(0, _as_error(answer))
    if isinstance(answer, list):
        published, *refusal = answer
        if refusal:
            error = _as_error(ResponseError(refusal[0].decode()))
        return Outcome(published, error)
    return Outcome(1, error)


def _as_error(error: RedisError) -> PublishError | BrokerUnavailable:
    code = ERROR_CODE.match(str(error))
    # redis-py gives some errors a class of their own and takes the code out of their text.
    away = isinstance(error, (ConnectionError, TimeoutError, ReadOnlyError, MasterDownError))
    # This one is about IDMP, and can only come from a server that has taken another's place.
    away = away or idempotence.UNKNOWN in str(error)
    if away or (code and code[1] in BROKER_FAULTS):
        return BrokerUnavailable(f"Redis can't take messages now: {error}")
    return PublishError(f"Redis refused the message: {error}")
