"""Unconfirmed messages: on their streams, and too few replicas or files had them in time.

A replica behind a slow link gets a batch when nobody waits for it any more. If the batch were just
added again, it would come too late again, and the stream would grow without end. So this process
remembers what it has added, and to which history of the server's data: `master_replid`, which no
two primaries share, and which a primary has anew after a restart. If a later question about the
same history is answered well, then what was added before it is confirmed too, and counts as
published without being added again.

Dying, or forgetting: what was remembered is added once more, and the inbox absorbs it.
"""

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from threading import Lock
from weakref import WeakKeyDictionary

import redis

#: Messages remembered of each server, some 150 bytes each; the oldest are forgotten.
MOST = 50_000

_CONFIRMED = "confirmed"

#: Of each server, what was added and where to: the history while that is unconfirmed.
_remembered: WeakKeyDictionary["redis.Redis", dict[bytes, str]] = WeakKeyDictionary()

_lock = Lock()


def remember(
    client: "redis.Redis", history: str, streams: Sequence[str], texts: Iterable[str]
) -> None:
    """These messages are on these streams, in this history, and not confirmed."""
    with _lock:
        known = _remembered.setdefault(client, {})
        for key in map(_key, streams, texts):
            known[key] = history
        for key in list(known)[: max(0, len(known) - MOST)]:
            del known[key]


def waiting(client: "redis.Redis") -> dict[bytes, str]:
    """What is unconfirmed now: to be asked for before a question is sent, which is about that."""
    with _lock:
        known = _remembered.get(client, {})
        return {key: history for key, history in known.items() if history != _CONFIRMED}


def confirm(client: "redis.Redis", asked: dict[bytes, str], history: str | None) -> None:
    """The question was answered well in this history; what was added to another is forgotten."""
    with _lock:
        known = _remembered.get(client, {})
        for key, added_to in asked.items():
            if known.get(key) == added_to:
                del known[key]
                if added_to == history:
                    known[key] = _CONFIRMED


def take(client: "redis.Redis", streams: Sequence[str], texts: Iterable[str]) -> int:
    """How many messages at the beginning of these are confirmed; that is then forgotten."""
    count = 0
    with _lock:
        if known := _remembered.get(client):
            for key in map(_key, streams, texts):
                if known.get(key) != _CONFIRMED:
                    break
                del known[key]
                count += 1
    return count


def forget(client: "redis.Redis") -> None:
    """Another server may answer from now on, or this one with less."""
    with _lock:
        _remembered.pop(client, None)


def _key(stream: str, text: str) -> bytes:
    # The text and not the event's id: a replay or a tombstone has that too, and is another message.
    return blake2b(f"{stream}\0{text}".encode(), digest_size=16).digest()
