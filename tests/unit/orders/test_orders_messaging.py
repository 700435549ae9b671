"""The messaging table of orders: complete, and each event goes where it should."""

from orders import integration_events, messaging
from orders.domain import commands, events
from outbox import Command, DomainEvent, IntegrationEvent
from outbox.discovery import messaging as discovered
from outbox.mapping import Route


def declared_in(module, kind):
    """The concrete messages of a kind: those that no other derives from."""
    found = [c for c in vars(module).values() if isinstance(c, type) and issubclass(c, kind)]
    return {c for c in found if c.__module__ == module.__name__ and not c.__subclasses__()}


def test_every_command_has_its_handler():
    assert set(messaging.handles) == declared_in(commands, Command)
    assert len(set(messaging.handles.values())) == 5


def test_every_domain_event_is_mapped_to_one_external_and_one_internal_message():
    assert set(messaging.publishes) == declared_in(events, DomainEvent)
    for routes in messaging.publishes.values():
        assert [route.topic for route in routes] == ["orders", "orders-internal"]
        assert all(isinstance(route, Route) for route in routes)


def test_every_integration_event_has_a_name_of_its_own():
    names = [c.message_name for c in declared_in(integration_events, IntegrationEvent)]

    assert sorted(names) == sorted(set(names))
    assert len(names) == 10


def test_the_table_is_found():
    assert discovered().handles.items() >= messaging.handles.items()
    assert discovered().publishes.items() >= messaging.publishes.items()
    assert messaging.orders in discovered().repositories
