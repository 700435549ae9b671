"""What people do about dead letters, many at a time: have them tried again, or give them up.

A replay goes through the inbox: an event that has had its effect meanwhile doesn't have it again.
Safe against consumers at work, against who does the same at the same moment, and when repeated. All
raise `StoreUnavailable`.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

from outbox import clock, connections, dead_letters, deferred, delivery, discovery, streams
from outbox.connections import Document
from outbox.errors import UnreadableEvent

#: Dead letters that are read and changed at a time: they may be large.
PAGE = 100

#: Those that can be acted on.
OPEN = {"state": {"$in": [dead_letters.DEAD, dead_letters.REPLAYING]}}

Progress = Callable[[int], object]


def replay(
    keys: Iterable[str], *, by: str, progress: Progress = lambda done: None
) -> tuple[list[str], dict[str, str]]:
    """Have subscribers try their events again, at once.

    Which will be tried; and which can't be, and why not.
    """
    declared = {one.name for one in discovery.subscribers()}
    done: list[str] = []
    why: dict[str, str] = {}
    for page in _pages(keys):
        with connections.store_errors():
            replays = []
            # The keys' order, the oldest first, is not the order in which the server finds them.
            found = {one["_id"]: one for one in _letters().find({"_id": {"$in": page}, **OPEN})}
            for letter in (found[key] for key in page if key in found):
                try:
                    replays.append(_replay(letter, declared))
                except UnreadableEvent as error:
                    why[letter["_id"]] = str(error)
            if replays:
                now = clock.now(connections.database())
                # Dying after this: they are deferred and still called dead; replaying them again
                # changes that.
                deferred.put_replays(replays, due_at=now)
                ids = [one.letter_id for one in replays]
                closed = _close(ids, {"state": dead_letters.REPLAYING, "closed_by": by})
                # The subscriber may have been quicker still; somebody who gave it up as well.
                given_up = _discarded(set(ids) - set(closed))
                if given_up:
                    deferred.withdraw(*given_up)
                done += [one for one in ids if one not in given_up]
        progress(len(done))
    return done, why


def discard(
    keys: Iterable[str], *, reason: str, by: str, progress: Progress = lambda done: None
) -> list[str]:
    """Give up on events for good, and keep who did and why. Those that were given up now."""
    if not reason.strip():
        raise ValueError("Give a reason: somebody will want to know.")
    done: list[str] = []
    for page in _pages(keys):
        with connections.store_errors():
            wanted = {"_id": {"$in": page}, **OPEN}
            ids = [letter["_id"] for letter in _letters().find(wanted, {"_id": 1})]
            deferred.withdraw(*ids)
            changes = {"reason": reason, "closed_by": by}
            now = clock.now(connections.database())
            done += _close(ids, {"state": dead_letters.DISCARDED, "closed_at": now, **changes})
            # Again, as a replay that began before may have deferred them since; from now on, one
            # sees that they are discarded, and withdraws them itself.
            deferred.withdraw(*ids)
        progress(len(done))
    return done


def count(keys: Iterable[str]) -> int:
    """How many of these can be acted on."""
    with connections.store_errors():
        found: int = _letters().count_documents({"_id": {"$in": list(keys)}, **OPEN})
    return found


def _replay(letter: Document, declared: set[str]) -> deferred.Replay:
    name = letter["subscriber"]
    if name not in declared:
        # Else it would be neither dead nor alive.
        raise UnreadableEvent(f"No subscriber is called {name}: nobody would come to try it.")
    event = delivery.read(letter["text"], letter["topic"])
    stream = streams.stream_of(event.topic, event.aggregate_id)
    return deferred.Replay(letter["_id"], name, stream, event)


def _close(ids: list[str], changes: Document) -> list[str]:
    """Note what is done with those of `ids` that are still open: these."""
    # Only these: a subscriber, or somebody else, may have been quicker.
    found = _letters().update_many({"_id": {"$in": ids}, **OPEN}, {"$set": changes})
    if found.matched_count == len(ids):
        return ids
    return [one["_id"] for one in _letters().find({"_id": {"$in": ids}, **changes}, {"_id": 1})]


def _discarded(ids: set[str]) -> set[str]:
    """Those that somebody has given up."""
    if not ids:
        return set()
    wanted = {"_id": {"$in": list(ids)}, "state": dead_letters.DISCARDED}
    return {letter["_id"] for letter in _letters().find(wanted, {"_id": 1})}


def _letters() -> Any:
    return connections.collection(dead_letters.COLLECTION)


def _pages(keys: Iterable[str]) -> Iterator[list[str]]:
    rest = iter(keys)
    while page := list(islice(rest, PAGE)):
        yield page
