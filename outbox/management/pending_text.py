"""Pending messages in words, for those commands that would do something about them.

All raise `StoreUnavailable` and `MissingIndex`.
"""

from collections.abc import Iterable, Sequence

from django.core.management.base import BaseCommand, CommandError

from outbox import message_store, pending
from outbox.management import acting
from outbox.message_store import PendingMessage, Selection


def line(one: PendingMessage) -> str:
    """Which message it is, and how it has fared."""
    failed = f"failed {one.attempts} times: {one.last_error}" if one.attempts else "waits"
    return (
        f"{one.event_id}, {one.type}, number {one.sequence} of {one.collection} "
        f"{one.aggregate_id} in {one.topic}; {failed}"
    )


def selected(selection: Selection) -> list[PendingMessage]:
    """What is selected, as far as a listing reaches."""
    return pending.messages(selection, limit=message_store.REACH).messages


def named(names: Iterable[str]) -> dict[str, PendingMessage]:
    """The messages that event ids, or keys, name: those that are pending."""
    places = {name: pending.key(name) for name in names}
    unplaced = [name for name, place in places.items() if place is None]
    places |= {place.event_id: place for place in pending.located(unplaced)}
    found = {
        name: pending.message(place.collection, place.aggregate_id, place.event_id)
        for name, place in places.items()
        if place is not None
    }
    return {name: one for name, one in found.items() if one is not None}


def show(command: BaseCommand, chosen: Sequence[str] | Selection, would: str, done: str) -> None:
    """The dry run of doing something to these; raises `CommandError` if some aren't pending."""
    if isinstance(chosen, Selection):
        shown = selected(chosen)
        total, missing = acting.total("pending", chosen), []
    else:
        known = named(chosen)
        shown, total = list(known.values()), len(known)
        missing = [name for name in chosen if name not in known]
    for one in shown:
        command.stdout.write(f"would {would} {line(one)}")
    for name in missing:
        command.stderr.write(acting.NOT_THERE["pending"].format(name))
    command.stdout.write(f"{total} would be {done}")
    if missing:
        raise CommandError(f"{len(missing)} could not be {done}.")
