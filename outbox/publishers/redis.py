"""The Redis Streams publisher: a topic is a stream or several, a batch one pipeline."""

import re
from collections.abc import Sequence
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
from outbox.publishers.base import Outcome, envelope_function, framed
from outbox.streams import naming

# Adds the messages of one aggregate in order and stops at the first that Redis refuses. A plain
# pipeline would go on to the next, and put it on the stream before the one that it follows.
ADD_IN_ORDER = """
for i = 1, #KEYS do
  local added = redis.pcall('XADD', KEYS[i], '*', 'event', ARGV[i])
  if type(added) == 'table' and added.err then return {i - 1, added.err} end
end
return {#KEYS}
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

    A batch is one round trip. An answer that doesn't come leaves the outcome unknown, which is
    said (`BrokerUnavailable`) and never papered over by sending again.
    """

    def publish(self, groups: Sequence[Sequence[Envelope]]) -> list[Outcome]:
        to_json, stream_of, errors = envelope_function(), naming(), []
        pipeline = connections.redis_client().pipeline(transaction=False)
        for group in groups:
            texts, error = framed(group, to_json)
            keys = [stream_of(one.topic, one.aggregate_id) for one in group[: len(texts)]]
            errors.append(error)
            if len(texts) == 1:
                pipeline.xadd(keys[0], {"event": texts[0]})
            else:
                pipeline.eval(ADD_IN_ORDER, len(keys), *keys, *texts)
        try:
            # Dying here, or losing the answer: the messages may be on the stream and are still
            # pending; they are published again with the same ids, and the inbox absorbs them.
            answers = pipeline.execute(raise_on_error=False)
        except RedisError as error:
            raise BrokerUnavailable(f"Redis can't be reached: {error}") from error
        return [_outcome(*each) for each in zip(answers, errors, strict=True)]


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
    if away or (code and code[1] in BROKER_FAULTS):
        return BrokerUnavailable(f"Redis can't take messages now: {error}")
    return PublishError(f"Redis refused the message: {error}")
