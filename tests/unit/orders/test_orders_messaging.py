"""The messaging table of orders: complete, and each event goes where it should."""

from typing import get_type_hints

from orders import integration_events, messaging
from orders.domain import commands, events
from outbox import EMBEDDED, Command, DomainEvent, EventMapping, IntegrationEvent
from outbox.discovery import messaging as discovered


def declared_in(module, kind):
    """The concrete messages of a kind: those that no other derives from."""
    found = [c for c in vars(module).values() if isinstance(c, type) and issubclass(c, kind)]
    return {c for c in found if c.__module__ == module.__name__ and not c.__subclasses__()}


def test_every_command_has_its_handler():
    assert set(messaging.handles) == declared_in(commands, Command)
    assert len(set(messaging.handles.values())) == len(messaging.handles)


TOPICS = {
    events.OrderConfirmed: ["orders"],
    events.ReservationDropped: ["orders-internal"],
    events.StockReserved: ["stock-internal"],
    events.StockInsufficient: ["stock-internal"],
    events.StockReleased: [],
    events.StockShipped: [],
    events.StockSet: [],
}


def test_every_domain_event_goes_where_it_should():
    assert set(messaging.publishes) == declared_in(events, DomainEvent)
    for event, routes in EventMapping(messaging.publishes).routes.items():
        topics = TOPICS.get(event, ["orders", "orders-internal"])
        assert [route.topic for route in routes] == topics, event


def test_every_message_for_inside_that_calls_for_something_is_subscribed_to():
    inside = {e for e in declared_in(integration_events, IntegrationEvent) if "Internal" in str(e)}
    handled = {e for s in messaging.subscribes if s.effect is EMBEDDED for e in s.handlers}

    assert inside - handled == {integration_events.InternalOrderPaid}


def test_subscribers_ask_for_what_is_on_their_topic():
    """By name: what a mapper returns is its annotation."""
    published = {
        (route.topic, get_type_hints(getattr(route.mapper, "func", route.mapper))["return"])
        for routes in EventMapping(messaging.publishes).routes.values()
        for route in routes
    }
    assert {(s.topic, event) for s in messaging.subscribes for event in s.handlers} <= published


def test_every_integration_event_has_a_name_of_its_own():
    names = [c.message_name for c in declared_in(integration_events, IntegrationEvent)]

    assert sorted(names) == sorted(set(names))
    assert len(names) == 14


def test_the_table_is_found():
    assert discovered().handles.items() >= messaging.handles.items()
    assert discovered().publishes.items() >= messaging.publishes.items()
    assert [messaging.orders, messaging.stocks] == discovered().repositories
    assert list(discovered().subscribes.values()) == messaging.subscribes
