"""Durability: Redis does with each batch what `OUTBOX_REDIS_DURABILITY` asks for, or it says not.

{"replicas": n}  n replicas have received it (WAIT)
{"aof": n}       it is in the append-only file of n servers, this one and n - 1 replicas (WAITAOF)

The question goes with the batch, in the same round trip. The first batch of a client, and one that
comes after a failure, is preceded by a question alone: a replica that is away for an hour must not
let every retry add the batch to the stream once more. Nor must one that is slow: see `unconfirmed`.
"""

import json
from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

import redis
from redis.exceptions import RedisError

from outbox.conf import conf
from outbox.errors import BrokerUnavailable
from outbox.publishers import unconfirmed

#: A key that is written before each question. WAIT is about the last write of its own connection,
#: and that may be long past, or none: the messages can be repeats that added nothing, of a batch
#: that another process has sent. With a write of its own, it is about all that came before.
KEY = "outbox:durability"

#: How much of `OUTBOX_REDIS_TIMEOUT` the server may take for each of the two waits.
SHARE = 0.4

REPLICAS = "replicas have the messages"
FILES = "append-only files have the messages on disk (with `appendfsync no` none ever does)"

_satisfied: WeakKeyDictionary["redis.Redis", dict[str, int]] = WeakKeyDictionary()


def ensure(client: "redis.Redis") -> None:
    """Raise `BrokerUnavailable` before anything is added, if the last answer wasn't good enough.

    A good one confirms what this process had added before it asked.
    """
    if not (wanted := conf.REDIS_DURABILITY):
        return
    # Before the question is sent: what other threads add meanwhile it isn't about.
    asked = unconfirmed.waiting(client)
    if asked or _satisfied.get(client) != wanted:
        pipeline = client.pipeline(transaction=False)
        ask(pipeline)
        identify(pipeline)
        *answers, identity = pipeline.execute(raise_on_error=False)
        confirm(client, answers, "Nothing was published.")
        unconfirmed.confirm(client, asked, history(identity))


def identify(pipeline: Any) -> None:
    """Let a pipeline ask which history of the data it is about.

    Before messages are added and after a question is answered: if both say the same, then one
    server has been the primary all that time. A replica says what its primary does, but can't
    answer the question; and made a primary, it begins a new history.
    """
    if conf.REDIS_DURABILITY:
        pipeline.info("replication")


def history(identity: Any) -> str | None:
    """What `identify` was answered; None if the server doesn't tell."""
    return str(identity["master_replid"]) if isinstance(identity, dict) else None


def ask(pipeline: Any) -> None:
    """Let a pipeline end with the question whether all that was written before is durable."""
    wanted, milliseconds = conf.REDIS_DURABILITY or {}, max(1, round(_patience() * 1000))
    if wanted:
        pipeline.set(KEY, 1)
    if "replicas" in wanted:
        pipeline.execute_command("WAIT", wanted["replicas"], milliseconds)
    if "aof" in wanted:
        pipeline.execute_command("WAITAOF", 1, wanted["aof"] - 1, milliseconds)


def confirm(
    client: "redis.Redis",
    answers: Sequence[Any],
    otherwise: str = "The messages are on the stream, and stay pending until it does.",
) -> None:
    """Raise `BrokerUnavailable` unless these answers to `ask` are good enough."""
    wanted = conf.REDIS_DURABILITY
    if not wanted:
        return
    if missing := " and ".join(_missing(wanted, list(answers))):
        forget(client)
        raise BrokerUnavailable(
            f"Redis doesn't do what OUTBOX_REDIS_DURABILITY = {json.dumps(wanted)} asks for: "
            f"{missing}. {otherwise}"
        )
    _satisfied[client] = dict(wanted)


def forget(client: "redis.Redis") -> None:
    """Ask before the next batch: who knows which server answers, and what it has."""
    _satisfied.pop(client, None)


def _missing(wanted: dict[str, int], answers: list[Any]) -> list[str]:
    written = answers.pop(0)
    if isinstance(written, RedisError):
        return [f"it can't write the key {KEY} ({written})"]
    missing = []
    if "replicas" in wanted:
        missing.append(_too_few(answers.pop(0), wanted["replicas"], REPLICAS))
    if "aof" in wanted:
        answer = answers.pop(0)
        missing.append(_too_few(_files(answer, wanted["aof"]), wanted["aof"], FILES))
    return [one for one in missing if one]


def _files(answer: Any, wanted: int) -> Any:
    """How many of the files that are wanted have it: another replica's isn't this server's own."""
    if isinstance(answer, RedisError):
        return answer
    own, replicas = answer
    return own + min(replicas, wanted - 1)


def _too_few(found: Any, wanted: int, what: str) -> str:
    if isinstance(found, RedisError):
        return _explained(str(found))
    if found >= wanted:
        return ""
    return f"after {_patience():g} s only {found} of {wanted} {what}"


def _explained(error: str) -> str:
    if "unknown command" in error:
        return (
            'it has no WAITAOF, which "aof" needs (use Redis 7.2 or later or Valkey, or ask for '
            "replicas alone)"
        )
    if "appendonly is disabled" in error:
        return 'its append-only file is off (set `appendonly yes`, or don\'t ask for "aof")'
    return f"it says {error}"


def _patience() -> float:
    return conf.REDIS_TIMEOUT * SHARE
