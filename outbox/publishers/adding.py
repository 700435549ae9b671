"""Adding to streams: each aggregate's messages in order, up to the first that Redis refuses."""

import time
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any, NamedTuple

import redis
from redis.exceptions import RedisError, ResponseError

from outbox.conf import conf
from outbox.errors import BrokerUnavailable, PublishError
from outbox.publishers import durability, idempotence
from outbox.publishers.base import Outcome
from outbox.redis_errors import is_the_brokers_fault, text_of

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


class Addition(NamedTuple):
    """Messages of one aggregate: their streams, their texts, and their ids for IDMP ('': none)."""

    streams: Sequence[str]
    texts: Sequence[str]
    ids: Sequence[str]
    producer: str


class Added(NamedTuple):
    """What became of each addition, and what Redis says of the durability of all of them."""

    outcomes: list[Outcome]
    #: The history (see `unconfirmed`) that all were added to; None if that isn't known.
    history: str | None
    answers: Sequence[Any]


def add(client: "redis.Redis", additions: Sequence[Addition]) -> Added:
    """Add them in one round trip, the question for durability included.

    It takes more if Redis refuses a whole script, because of one of its streams or because it may
    not be run at all: the messages are then added one by one.

    Raises what redis-py raises when the server can't be reached.
    """

    def fill(pipeline: Any) -> None:
        for one in additions:
            _add_in_order(pipeline, one)

    history, answers = _send(client, fill, ask=True)
    added, answers = answers[: len(additions)], answers[len(additions) :]
    outcomes = [_outcome(answer) for answer in added]
    refused = [
        number
        for number, answer in enumerate(added)
        if len(additions[number].texts) > 1
        and isinstance(answer, RedisError)
        and isinstance(outcomes[number].error, PublishError)
    ]
    if refused:
        again, histories = _one_by_one(client, [additions[number] for number in refused])
        for number, outcome in zip(refused, again, strict=True):
            outcomes[number] = outcome
        last, answers = _send(client, lambda pipeline: None, ask=True)
        if histories | {last} != {history}:
            history = None
    return Added(outcomes, history, answers)


def _one_by_one(
    client: "redis.Redis", additions: Sequence[Addition]
) -> tuple[list[Outcome], set[str | None]]:
    """Add the first message of each, then the second of those whose first was added, and so on.

    For at most `OUTBOX_REDIS_TIMEOUT`; what is left then has to wait for the next batch.
    """
    ends, histories = time.monotonic() + conf.REDIS_TIMEOUT, set()
    outcomes = [Outcome(0)] * len(additions)
    for place in count():
        going = [
            number
            for number, (one, outcome) in enumerate(zip(additions, outcomes, strict=True))
            if outcome.error is None and place < len(one.texts)
        ]
        if not going:
            break
        if place and time.monotonic() > ends:
            late = BrokerUnavailable("Redis refuses scripts, and adding one by one takes too long.")
            for number in going:
                outcomes[number] = Outcome(place, late)
            break

        def fill(pipeline: Any, place: int = place, going: Sequence[int] = tuple(going)) -> None:
            for number in going:
                _add_one(pipeline, additions[number], place)

        history, answers = _send(client, fill)
        histories.add(history)
        for number, answer in zip(going, answers, strict=True):
            published, error = _outcome(answer)
            outcomes[number] = Outcome(place + published, error)
    return outcomes, histories


def _send(
    client: "redis.Redis", fill: Callable[[Any], None], *, ask: bool = False
) -> tuple[str | None, list[Any]]:
    """The history that a pipeline was about, and its other answers."""
    pipeline = client.pipeline(transaction=False)
    durability.identify(pipeline)
    identities = len(pipeline)
    fill(pipeline)
    if ask:
        durability.ask(pipeline)
    # Dying here, or losing the answer: the messages may be on the stream and are still pending;
    # they are published again with the same ids, and the inbox absorbs them.
    answers = pipeline.execute(raise_on_error=False)
    history = durability.history(answers[0]) if identities else None
    return history, answers[identities:]


def _add_in_order(pipeline: Any, one: Addition) -> None:
    if len(one.texts) == 1:
        _add_one(pipeline, one, 0)
    else:
        words = (*one.streams, *one.texts, *one.ids, one.producer)
        pipeline.eval(ADD_IN_ORDER, len(one.streams), *words)


def _add_one(pipeline: Any, one: Addition, place: int) -> None:
    once = ("IDMP", one.producer, one.ids[place]) if one.ids[place] else ()
    pipeline.execute_command("XADD", one.streams[place], *once, "*", "event", one.texts[place])


def _outcome(answer: Any) -> Outcome:
    if isinstance(answer, RedisError):
        return Outcome(0, _as_error(answer))
    if isinstance(answer, list):
        published, *refusal = answer
        error = _as_error(ResponseError(refusal[0].decode())) if refusal else None
        return Outcome(published, error)
    return Outcome(1)


def _as_error(error: RedisError) -> PublishError | BrokerUnavailable:
    # This one is about IDMP, and can only come from a server that has taken another's place.
    if is_the_brokers_fault(error) or idempotence.UNKNOWN in str(error):
        return BrokerUnavailable(f"Redis can't take messages now: {text_of(error)}")
    return PublishError(f"Redis refused the message: {text_of(error)}")
