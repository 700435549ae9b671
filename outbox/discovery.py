"""Discovery: gathers the messaging tables of the installed apps.

`messaging.py` is the `urls.py` of messages: an app's one table of what it handles, publishes and
subscribes to, as plain data under these names, each optional:

    handles       {command class: handler}
    publishes     {domain event class: route, routes or INTERNAL}
    repositories  the repositories whose documents the relay sweeps
"""

from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any

from django.apps import apps
from django.utils.module_loading import module_has_submodule

from outbox.errors import DuplicateHandler, MessagingError
from outbox.mapping import EventMapping, Routes
from outbox.message_bus import CommandHandler, MessageBus
from outbox.messages import Command, DomainEvent
from outbox.relay import Relay

MODULE = "messaging"


@dataclass(frozen=True)
class Messaging:
    """The tables of all apps as one."""

    handles: dict[type[Command], CommandHandler] = field(default_factory=dict)
    publishes: dict[type[DomainEvent], Routes] = field(default_factory=dict)
    repositories: list[Any] = field(default_factory=list)


@cache
def messaging() -> Messaging:
    """The tables of every installed app that has a `messaging.py`.

    Raises `DuplicateHandler` if two handle one command, and `MessagingError` for a module that
    declares nothing: most likely a name in it is misspelt.
    """
    found = Messaging()
    for app in apps.get_app_configs():
        if app.module is not None and module_has_submodule(app.module, MODULE):
            _add(found, import_module(f"{app.name}.{MODULE}"))
    return found


@cache
def bus() -> MessageBus:
    """The message bus over every app's handlers."""
    return MessageBus(messaging().handles)


def collections() -> list[str]:
    """The collections of the declared repositories."""
    return list(dict.fromkeys(repository.collection for repository in messaging().repositories))


def topics() -> list[str]:
    """The topics that the declared events are published to, sorted."""
    routes = EventMapping(messaging().publishes).routes.values()
    return sorted({route.topic for several in routes for route in several})


def relays() -> list[Relay]:
    """A relay for each declared repository's collection."""
    return [Relay(repository.collection) for repository in messaging().repositories]


def _add(found: Messaging, module: ModuleType) -> None:
    tables = ("handles", "publishes", "repositories")
    if not any(hasattr(module, table) for table in tables):
        raise MessagingError(
            f"{module.__name__} declares none of {', '.join(tables)}: is a name misspelt?"
        )
    for command, handler in getattr(module, "handles", {}).items():
        if command in found.handles:
            raise DuplicateHandler(
                f"{command.__name__} is handled by two apps; one is {module.__name__}. "
                "A command has one handler: take it out of one of the tables."
            )
        found.handles[command] = handler
    found.publishes.update(getattr(module, "publishes", {}))
    found.repositories.extend(getattr(module, "repositories", ()))
