"""Acting: what those commands have in common that do something to many messages."""

from collections.abc import Sequence

from django.core.management.base import BaseCommand, CommandError

from outbox import operations
from outbox.message_store import Selection
from outbox.operations import Done, Kind

#: What is said of a name that nothing has, by kind.
NOT_THERE = {
    "pending": "{} isn't pending: it has been published, or was never there.",
    "dead_letters": "There is no dead letter {!r} to act on.",
}


def total(kind: Kind, chosen: Sequence[str] | Selection) -> int:
    """How many are to be acted on. Raises `StoreUnavailable`, `MissingIndex`."""
    return operations.count(kind, chosen, most=None)[0]


def tell_missed(
    command: BaseCommand, kind: Kind, chosen: Sequence[str] | Selection, done: Done, what: str
) -> None:
    """Say which couldn't be done; raises `CommandError` if there are any.

    One that was selected, and has gone before its turn came, is none of them.
    """
    failed = dict(done.why)
    if not isinstance(chosen, Selection):
        # A pending message's key begins with its event id, which may be all that was named.
        there = {one for key in done.ids for one in (key, key.partition("/")[0])}
        missing = [name for name in chosen if name not in there and name not in failed]
        failed |= {name: NOT_THERE[kind].format(name) for name in missing}
    for name, why in failed.items():
        command.stderr.write(f"{name}: {why}" if name in done.why else why)
    if failed:
        raise CommandError(f"{len(failed)} could not be {what}.")
