"""The admin's log: who did what to which messages, when, and why.

Rows of Django's own `LogEntry`, so that the History page of an object shows what was done to it.
The admin and the API write them; where `django.contrib.admin` isn't installed, nothing is written.
"""

from collections.abc import Sequence
from typing import Any

from django.apps import apps
from django.db.models import Model
from django.utils.text import capfirst

from outbox import connections, dead_letter_listing, dispatched, pending
from outbox.errors import OutboxError


def record(user: Any, action: str, model: type[Model], keys: Sequence[str], message: str) -> None:
    """Note that `user` has done `action` to the objects of `model` with these `keys`.

    One row for each key; without keys, one row for all that was done at once, of which `message`
    says what it was, how many, and why. Nothing is noted of somebody who isn't logged in.
    """
    if not apps.is_installed("django.contrib.admin") or user.pk is None:
        return
    # Here, since they can't be imported where their apps aren't installed.
    from django.contrib.admin.models import CHANGE, LogEntry
    from django.contrib.contenttypes.models import ContentType

    kind = ContentType.objects.get_for_model(model, for_concrete_model=False)
    plural = capfirst(str(model._meta.verbose_name_plural))
    objects: Sequence[str | None] = keys or [None]
    names = _names(model, keys) if keys else {}
    LogEntry.objects.bulk_create(
        LogEntry(
            user_id=user.pk,
            content_type=kind,
            object_id=key,
            object_repr=(names.get(key, key) if key else plural)[:200],
            action_flag=CHANGE,
            change_message=f"{action}: {message}" if message else f"{action}.",
        )
        for key in objects
    )


def _names(model: type[Model], keys: Sequence[str]) -> dict[str, str]:
    """What the objects of these keys are called, as far as they are found: one request for all.

    Two, if some of them were pending and are no longer. What is noted is done already, and has to
    be noted: where the store is away, they go by their keys.
    """
    kind = model._meta.model_name
    try:
        if kind == "deadletter":
            letters = dead_letter_listing.named(keys)
            return {one.key: _name(model, one, "type", "subscriber", "event_id") for one in letters}
        waiting = pending.named(keys) if kind == "pendingmessage" else []
        names = {one.key: _name(model, one, "type", "event_id") for one in waiting}
        # What was pending may be published by now. Its key began with its event id.
        gone = {key.partition("/")[0]: key for key in keys if key not in names}
        types = _published(list(gone)) if gone else {}
    except OutboxError:
        return {}
    return names | {gone[id]: str(model(event_id=id, type=type)) for id, type in types.items()}


def _name(model: type[Model], found: object, *fields: str) -> str:
    return str(model(**{field: getattr(found, field) for field in fields}))


def _published(event_ids: list[str]) -> dict[str, str]:
    """The types of those that the archive has."""
    archive = connections.collection(dispatched.COLLECTION)
    with connections.store_errors():
        found = archive.find({"_id": {"$in": event_ids}}, {"type": 1})
        return {row["_id"]: row["type"] for row in found}


def record_done(
    user: Any,
    action: str,
    model: type[Model],
    ids: Sequence[str],
    *,
    count: int,
    which: str,
    reason: str,
    way: str,
) -> None:
    """Note what was done to so many, unless it is none: to each of `ids`; or once to all of those
    that were selected, which are named by `which` then. `way` says how it was asked for.
    """
    if count:
        said = [f"{count:,} of {which}"] if which else []
        message = ". ".join([*said, *([reason] if reason else []), way])
        record(user, action, model, () if which else ids, f"{message}.")
