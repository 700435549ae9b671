"""The operator: who runs a command, for the record and for the admin's log."""

import getpass
import os
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

from django.apps import apps
from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error
from django.db.models import Model

from outbox import admin_log
from outbox.message_store import Selection


class Operator(NamedTuple):
    """Who acts: by name, and as a user of the admin, if the name is one's."""

    name: str
    user: Any = None

    def log(
        self,
        action: str,
        model: type[Model],
        chosen: Sequence[str] | Selection,
        ids: Sequence[str],
        count: int,
        reason: str = "",
    ) -> None:
        """Write to the admin's log what was done: to each of `ids`, or once to all selected."""
        if self.user is not None:
            admin_log.record_done(
                self.user,
                action,
                model,
                ids,
                count=count,
                which=_words(chosen) if isinstance(chosen, Selection) else "",
                reason=reason,
                way="By command",
            )


def add_reason(parser: CommandParser) -> None:
    """The option that says why, where nobody has to."""
    parser.add_argument("--reason", default="", help="why, for the admin's log")


def add_user(parser: CommandParser) -> None:
    """The option that says who acts."""
    parser.add_argument(
        "--user",
        metavar="NAME",
        help="the user of the admin who does it, for its log (the one called as you are here)",
    )


def operator(command: BaseCommand, given: str | None) -> Operator:
    """Who acts. Raises `CommandError` for a user who isn't there.

    Without such a user it is done all the same, at night and without a relational database; then
    the admin's log doesn't have it, which is said.
    """
    name = given or _own_name()
    if not apps.is_installed("django.contrib.admin"):
        return Operator(name)
    users = get_user_model()
    try:
        return Operator(name, users._default_manager.get_by_natural_key(name))
    except users.DoesNotExist:
        if given:
            raise CommandError(f"There is no user {given!r} in the admin.") from None
        why = f"there is no user {name!r}; name one with --user"
    except Error as error:
        why = str(error)
    command.stderr.write(f"The admin's log won't have this: {why}.")
    return Operator(name)


def _own_name() -> str:
    """The user's name on this machine; a container's user may be a number without one."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _words(selection: Selection) -> str:
    given = [f"{name} {value}" for name, value in asdict(selection).items() if value]
    return "all" + (" with " + ", ".join(given) if given else "")
