"""Operations: what people do about messages. Admin, API and commands call these and nothing else.

Each acts on messages that are named, or on all that a `Selection` says: the `MOST` that have waited
the longest, unless `most` says otherwise (None: all). What isn't there any more is `missed`, and no
error. `by` says who asks. `once` is an id of the request: asked for again under the same one, even
at the same moment, the operation is done once, and the other raises `AlreadyDone`; or, if its
`fingerprint`, a digest of what is asked for, is another, `MessageIdReused`. `progress` is told how
many have been acted on.

All raise `StoreUnavailable` and `MissingIndex`; what has been done by then stays done, and doing it
again does the rest.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any, Literal

from outbox import dead_letter_actions, dead_letter_listing, pending, pending_actions
from outbox import replay as archive
from outbox.discovery import collections
from outbox.message_store import Selection
from outbox.once import Done
from outbox.once import once as _once
from outbox.replay import Preview

__all__ = [
    "MOST",
    "Done",
    "Kind",
    "Preview",
    "count",
    "discard",
    "discard_dead_letters",
    "preview_replay",
    "replay",
    "replay_dead_letters",
    "retry",
]

logger = logging.getLogger(__name__)

#: Messages that one operation takes on at a time, in a request.
MOST = 5000

Kind = Literal["pending", "dispatched", "dead_letters"]
Progress = Callable[[int], object]

#: Messages that are named, or a selection. A pending message's key is "event id/collection/
#: aggregate id", or its event id alone, which is looked for; a dead letter's is its `key`, a
#: dispatched message's its event id.
Wanted = Sequence[str] | Selection


def _quietly(done: int) -> None:
    pass


def retry(
    wanted: Wanted,
    *,
    by: str,
    once: str | None = None,
    fingerprint: str | None = None,
    most: int | None = MOST,
    progress: Progress = _quietly,
) -> Done:
    """Have pending messages tried at once, and those that wait for them or that they wait for.

    They count as never tried.
    """

    def act() -> Done:
        found, missed, left = _pending(wanted, most)
        done = pending_actions.release(found, progress)
        return _done(done, missed + len(found) - len(done), left)

    done = _once(once, act, action="retry", by=by, fingerprint=fingerprint)
    return _noted("retry", by, done)


def discard(
    wanted: Wanted,
    *,
    reason: str,
    by: str,
    once: str | None = None,
    fingerprint: str | None = None,
    most: int | None = MOST,
    progress: Progress = _quietly,
) -> Done:
    """Give pending messages up for good: a tombstone is published in the place of each.

    The message itself is kept, with who gave it up and why (see `discarded`). Raises `ValueError`
    without a reason.
    """

    def act() -> Done:
        found, missed, left = _pending(wanted, most)
        done = pending_actions.bury(found, reason=reason, by=by, progress=progress)
        return _done(done, missed + len(found) - len(done), left)

    _require(reason)
    done = _once(once, act, action="discard", by=by, reason=reason, fingerprint=fingerprint)
    return _noted("discard", by, done, reason)


def replay(
    wanted: Wanted,
    *,
    by: str,
    once: str | None = None,
    fingerprint: str | None = None,
    most: int | None = MOST,
    progress: Progress = _quietly,
) -> Done:
    """Publish dispatched messages again, each to its own topic, an aggregate's in their order.

    Subscribers that have handled them pass over them. Raises `PublishError` or `BrokerUnavailable`
    when it has to stop, which say how many are known to be published.
    """

    def act() -> Done:
        chosen, left = _limited(wanted, most)
        missed = 0
        if not isinstance(chosen, Selection):
            there = set(archive.oldest(chosen, max(1, len(chosen))))
            missed, chosen = len(chosen) - len(there), [one for one in chosen if one in there]
        elif most is not None:
            found = archive.oldest(chosen, most + 1)
            chosen, left = found[:most], len(found) > most
        published = archive.replay(chosen, progress=progress).published
        if isinstance(chosen, Selection):
            return Done(published, 0, left)
        return Done(published, missed + len(chosen) - published, left, chosen[:MOST])

    done = _once(once, act, action="replay", by=by, fingerprint=fingerprint)
    return _noted("replay", by, done)


def preview_replay(wanted: Wanted, *, most: int | None = MOST) -> Preview:
    """What `replay` would publish, counted to `most`; changes nothing."""
    return archive.preview(wanted, most=most)


def replay_dead_letters(
    wanted: Wanted,
    *,
    by: str,
    once: str | None = None,
    fingerprint: str | None = None,
    most: int | None = MOST,
    progress: Progress = _quietly,
) -> Done:
    """Have their subscribers, and nobody else, try dead letters again, at once.

    What can't be read, or whose subscriber isn't declared, is missed; `Done.why` says which is it.
    """

    def act() -> Done:
        found, left = _letters(wanted, most)
        done, why = dead_letter_actions.replay(found, by=by, progress=progress)
        return Done(len(done), len(found) - len(done), left, done[:MOST], why)

    done = _once(once, act, action="replay", by=by, fingerprint=fingerprint)
    return _noted("replay of dead letters", by, done)


def discard_dead_letters(
    wanted: Wanted,
    *,
    reason: str,
    by: str,
    once: str | None = None,
    fingerprint: str | None = None,
    most: int | None = MOST,
    progress: Progress = _quietly,
) -> Done:
    """Give up on dead letters for good, and keep who did and why. `ValueError` without a reason."""

    def act() -> Done:
        found, left = _letters(wanted, most)
        done = dead_letter_actions.discard(found, reason=reason, by=by, progress=progress)
        return Done(len(done), len(found) - len(done), left, done[:MOST])

    _require(reason)
    done = _once(once, act, action="discard", by=by, reason=reason, fingerprint=fingerprint)
    return _noted("discard of dead letters", by, done, reason)


def count(kind: Kind, wanted: Wanted, most: int | None = MOST) -> tuple[int, bool]:
    """How many an operation would act on, counted to `most`; and whether that is all."""
    if kind == "dispatched":
        preview = archive.preview(wanted, most=most)
        return preview.total, not preview.left
    counting = _count_pending if kind == "pending" else _count_dead_letters
    counted = counting(wanted, None if most is None else most + 1)
    return (counted, True) if most is None else (min(counted, most), counted <= most)


def _count_pending(wanted: Wanted, most: int | None) -> int:
    if isinstance(wanted, Selection):
        return pending.count(wanted, most)
    return len(pending.there(_pending(wanted, None)[0]))


def _count_dead_letters(wanted: Wanted, most: int | None) -> int:
    if isinstance(wanted, Selection):
        return dead_letter_listing.count(wanted, most)
    return dead_letter_actions.count(wanted)


def _pending(wanted: Wanted, most: int | None) -> tuple[list[pending.Key], int, bool]:
    """Where what is wanted lies; how many of those named are nowhere; and if there are more."""
    chosen, left = _limited(wanted, most)
    if isinstance(chosen, Selection):
        found = pending.keys(chosen, None if most is None else most + 1)
        return found[:most], 0, most is not None and len(found) > most
    known = {text: pending.key(text) for text in chosen}
    declared = collections()
    places = [place for place in known.values() if place and place.collection in declared]
    bare = [text for text, place in known.items() if place is None]
    found = [*places, *(pending.located(bare) if bare else [])]
    return list(dict.fromkeys(found)), len(known) - len(found), left


def _letters(wanted: Wanted, most: int | None) -> tuple[list[str], bool]:
    chosen, left = _limited(wanted, most)
    if not isinstance(chosen, Selection):
        return list(chosen), left
    found = list(dead_letter_listing.keys(chosen, None if most is None else most + 1))
    return found[:most], most is not None and len(found) > most


def _limited(wanted: Wanted, most: int | None) -> tuple[Wanted, bool]:
    """What is named, each once, and if there is more of it than `most`."""
    if isinstance(wanted, Selection):
        return wanted, False
    named = list(dict.fromkeys(wanted))
    return named[:most], most is not None and len(named) > most


def _done(keys: list[pending.Key], missed: int, left: bool) -> Done:
    return Done(len(keys), missed, left, [str(key) for key in keys[:MOST]])


def _require(reason: str) -> None:
    if not reason.strip():
        raise ValueError("Give a reason: somebody will want to know.")


def _noted(action: str, by: str, done: Done, reason: str = "") -> Done:
    extra: dict[str, Any] = {"action": action, "count": done.count, "by": by}
    logger.log(
        logging.WARNING if done.count else logging.INFO,
        "%s has asked for %s: %s message%s%s.",
        by or "Somebody",
        action,
        done.count,
        "" if done.count == 1 else "s",
        f" ({reason})" if reason else "",
        extra=extra | ({"reason": reason} if reason else {}),
    )
    return done
