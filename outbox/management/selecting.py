"""Selecting: the options by which commands choose messages, and dead letters."""

from collections.abc import Sequence
from typing import Any

from django.core.management.base import CommandError, CommandParser

from outbox.management.moments import TIME, moment
from outbox.message_store import Selection

#: What each option is for; all narrow down what is chosen.
_HELP = {
    "subscriber": ("NAME", "of this subscriber only"),
    "error_type": ("CLASS", "that failed with this class of error only, e.g. KeyError"),
    "topic": ("TOPIC", "of this topic only"),
    "type": ("TYPE", "of this type only, e.g. OrderPlaced"),
    "since": ("TIME", f"from then on: {TIME}"),
}


def add_filters(parser: CommandParser, *names: str) -> None:
    """The options of these names."""
    for name in names:
        metavar, text = _HELP[name]
        parser.add_argument(f"--{name.replace('_', '-')}", metavar=metavar, help=text)


def selection(options: dict[str, Any], *names: str, state: str | None = None) -> Selection:
    """What the options of these names select. Raises `CommandError`, and `StoreUnavailable`."""
    given = {name: options[name] for name in names}
    if "since" in given:
        given["since"] = moment(given["since"])
    return Selection(**given, state=state)


def one_way(
    ids: list[str], options: dict[str, Any], ways: Sequence[str], filters: Sequence[str]
) -> None:
    """Refuse what isn't clear: ids, or one of the `ways` to name many; `filters` with these only.

    Raises `CommandError`.
    """
    named = " or ".join(f"--{way}" for way in ways)
    if sum(map(bool, (ids, *(options[way] for way in ways)))) != 1:
        raise CommandError(f"Name the ids to act on, or give {named}.")
    for name in filters:
        if ids and options[name] is not None:
            raise CommandError(f"--{name.replace('_', '-')} goes with {named}, and not with ids.")
