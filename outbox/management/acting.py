"""Acting: what those commands have in common that do something to many messages."""

from collections.abc import Callable, Sequence

from django.core.management.base import BaseCommand, CommandError
from django.db.models import Model

from outbox import operations
from outbox.management.operator import operator
from outbox.management.progress import progress
from outbox.message_store import Selection
from outbox.models import DeadLetter, PendingMessage
from outbox.operations import Done, Kind

#: What is said of a name that nothing has, by kind.
NOT_THERE = {
    "pending": "{} isn't pending: it has been published, or was never there.",
    "dead_letters": "There is no dead letter {!r} to act on.",
}


#: What the admin's log calls them, by kind.
MODELS: dict[str, type[Model]] = {"pending": PendingMessage, "dead_letters": DeadLetter}


def total(kind: Kind, chosen: Sequence[str] | Selection) -> int:
    """How many are to be acted on. Raises `StoreUnavailable`, `MissingIndex`."""
    return operations.count(kind, chosen, most=None)[0]


def act(
    command: BaseCommand,
    kind: Kind,
    chosen: Sequence[str] | Selection,
    run: Callable[..., Done],
    title: str,
    *,
    user: str | None,
    reason: str,
) -> Done:
    """Do it to all that are chosen, with a bar, and log that it was `user`, and the `reason`.

    Raises `StoreUnavailable`, `MissingIndex`; `CommandError` for a user who isn't there.
    """
    who = operator(command, user)
    with progress(command.stderr, total(kind, chosen)) as told:
        done = run(chosen, by=who.name, most=None, progress=told)
    who.log(title, MODELS[kind], chosen, done.ids, done.count, reason)
    return done


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
