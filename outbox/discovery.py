"""Discovery: gathers the messaging tables of the installed apps.

`messaging.py` is the `urls.py` of messages: an app's one table of what it handles, publishes and
subscribes to, as plain data under these names, each optional:

    handles       {command class: handler}
    publishes     {domain event class: route, routes or INTERNAL}
    repositories  the repositories whose documents the relay sweeps
    subscribes    the subscribers, each a `Subscriber`
    upcasts       the upcasters, each an `Upcaster`
    within        {domain event class: handler or handlers}, which a repository is given as well
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any, TypeVar

from django.apps import apps
from django.utils.module_loading import module_has_submodule

from outbox.errors import DuplicateHandler, MessagingError
from outbox.mapping import EventMapping, Routes
from outbox.message_bus import CommandHandler, MessageBus
from outbox.messages import Command, DomainEvent
from outbox.relay import Relay
from outbox.subscriber import EMBEDDED, Subscriber
from outbox.upcasting import Upcaster, path

MODULE = "messaging"

R = TypeVar("R")


@dataclass(frozen=True)
class Messaging:
    """The tables of all apps as one."""

    handles: dict[type[Command], CommandHandler] = field(default_factory=dict)
    publishes: dict[type[DomainEvent], Routes] = field(default_factory=dict)
    repositories: list[Any] = field(default_factory=list)
    subscribes: dict[str, Subscriber] = field(default_factory=dict)
    upcasts: list[Upcaster] = field(default_factory=list)
    #: The events with handlers within the save, and the module that declares them.
    within: dict[type[DomainEvent], str] = field(default_factory=dict)


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


def subscribers(names: Sequence[str] = ()) -> list[Subscriber]:
    """The declared subscribers, or those of these names. Raises `MessagingError` for others."""
    declared = messaging().subscribes
    if unknown := [name for name in names if name not in declared]:
        raise MessagingError(
            f"No subscriber is called {unknown[0]}; there are: {', '.join(sorted(declared))}."
        )
    return [declared[name] for name in names or declared]


def relays() -> list[Relay]:
    """A relay for each declared repository's collection."""
    return [Relay(repository.collection) for repository in messaging().repositories]


def _add(found: Messaging, module: ModuleType) -> None:
    tables = ("handles", "publishes", "repositories", "subscribes", "upcasts", "within")
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
    for upcaster in _rows(module, "upcasts", Upcaster):
        _add_upcaster(found.upcasts, upcaster)
    found.within.update(dict.fromkeys(getattr(module, "within", {}), module.__name__))
    for subscriber in _rows(module, "subscribes", Subscriber):
        _add_subscriber(found.subscribes, subscriber)


def _rows(module: ModuleType, table: str, kind: type[R]) -> list[R]:
    rows = getattr(module, table, ())
    if not isinstance(rows, list | tuple) or isinstance(rows, kind):
        raise MessagingError(f"{module.__name__}.{table} is {rows!r}, and not a list.")
    for row in rows:
        if not isinstance(row, kind):
            raise MessagingError(f"{module.__name__}.{table} has {row!r}: no {kind.__name__}.")
    return list(rows)


def _add_upcaster(found: list[Upcaster], upcaster: Upcaster) -> None:
    if any(one[:2] == upcaster[:2] for one in found):
        raise MessagingError(
            f"Two upcasters are declared for {upcaster.type} of version {upcaster.from_version}: "
            "each leads to one version."
        )
    found.append(upcaster)
    path(found, upcaster.type, upcaster.from_version)


def _add_subscriber(found: dict[str, Subscriber], subscriber: Subscriber) -> None:
    if subscriber.name in found:
        raise MessagingError(
            f"Two subscribers are called {subscriber.name}: a name is one consumer group."
        )
    for other in found.values():
        if not (other.effect is subscriber.effect is EMBEDDED and other.topic == subscriber.topic):
            continue
        handled = {event.message_name for event in other.handlers}
        if both := handled & {event.message_name for event in subscriber.handlers}:
            # A document remembers the event, not the subscriber: the second one's command would
            # be taken for a repeat of the first one's.
            raise MessagingError(
                f"{other.name} and {subscriber.name} both send commands for {sorted(both)[0]} of "
                f"{subscriber.topic}: let one of them return both commands."
            )
    found[subscriber.name] = subscriber
