from datetime import UTC, datetime, timedelta, timezone

import pytest
from pydantic import ValidationError

from outbox import Command, DomainEvent, IntegrationEvent


class OrderNoted(IntegrationEvent, name="OrderNoted", version="2.1"):
    order_id: str
    item_count: int


def test_a_message_states_its_name_and_version_apart_from_its_python_name():
    assert (OrderNoted.message_name, OrderNoted.message_version) == ("OrderNoted", "2.1")


@pytest.mark.parametrize("base", [Command, DomainEvent, IntegrationEvent])
def test_a_message_without_a_name_is_refused_when_it_is_declared(base):
    with pytest.raises(TypeError, match=r'needs an explicit name.*name="Nameless"'):

        class Nameless(base):
            pass


def test_messages_are_frozen_and_keyword_only_and_refuse_what_they_do_not_know():
    event = OrderNoted(order_id="o1", item_count=2)
    with pytest.raises(ValidationError, match="frozen"):
        event.order_id = "o2"
    with pytest.raises(TypeError):
        OrderNoted("o1", 2)
    with pytest.raises(ValidationError, match="unknown"):
        OrderNoted(order_id="o1", item_count=2, unknown=1)


def test_a_payload_is_compact_json_in_camel_case_and_reads_back():
    event = OrderNoted(order_id="o1", item_count=2)
    assert event.payload() == '{"orderId":"o1","itemCount":2}'
    assert OrderNoted.from_payload(event.payload()) == event


class OrderSeen(DomainEvent, name="OrderSeen"):
    """Insists on a time."""

    occurred_at: datetime


@pytest.mark.parametrize("event", [OrderSeen, type("Seen", (DomainEvent,), {}, name="Seen")])
def test_a_domain_event_may_say_when_it_happened_but_not_without_a_time_zone(event):
    for at in (datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, 2, tzinfo=EAST)):
        assert event(occurred_at=at).occurred_at == at
    with pytest.raises(ValidationError, match="2026-01-01 00:00:00 has no time zone"):
        event(occurred_at=datetime(2026, 1, 1))


EAST = timezone(timedelta(hours=2))
