"""What others are told: the payloads, to the byte."""

from decimal import Decimal
from functools import partial

import pytest

from orders import integration_events, mapping
from orders.domain.line import Line
from tests.unit.orders.test_order import LATER, placed

NAMES = {"WIDGET-01": "Widget, small"}
ABOUT = '"orderId":"o-1","customerId":"c-1"'
PRICED = '{"sku":"WIDGET-01","quantity":2,"unitPrice":49.99}'


def looked_up(skus):
    return {sku: NAMES[sku] for sku in skus if sku in NAMES}


def after(*actions):
    """An order, and the event of the last of these."""
    order = placed()
    for action in actions:
        action(order)
    return order.collect_events()[-1], order


def add(order):
    order.add_item(Line(sku="G", quantity=1, unit_price=Decimal("0.01")), at=LATER)


def pay(order):
    order.pay("pay-1", at=LATER)


def ship(order):
    order.ship("DHL", "0034", at=LATER)


def cancel(order):
    order.cancel("changed", at=LATER)


@pytest.mark.parametrize(
    ("mapper", "actions", "payload"),
    [
        (
            mapping.order_placed,
            [],
            f'{{{ABOUT},"items":[{{"sku":"WIDGET-01","quantity":2}}],'
            '"total":99.98,"currency":"USD"}',
        ),
        (
            mapping.item_added,
            [add],
            f'{{{ABOUT},"sku":"G","quantity":1,"total":99.99,"currency":"USD"}}',
        ),
        (mapping.order_paid, [pay], f'{{{ABOUT},"total":99.98,"currency":"USD"}}'),
        (
            partial(mapping.order_shipped, names=looked_up),
            [add, pay, ship],
            f'{{{ABOUT},"items":[{{"sku":"WIDGET-01","quantity":2,"name":"Widget, small"}},'
            '{"sku":"G","quantity":1,"name":null}],"carrier":"DHL","trackingNumber":"0034"}',
        ),
        (mapping.order_cancelled, [cancel], f'{{{ABOUT},"reason":"changed"}}'),
        (
            mapping.internal_order_placed,
            [],
            f'{{{ABOUT},"items":[{PRICED}],"total":99.98,"currency":"USD"}}',
        ),
        (
            mapping.internal_item_added,
            [add],
            f'{{{ABOUT},"items":[{{"sku":"G","quantity":1,"unitPrice":0.01}}],'
            '"total":99.99,"currency":"USD"}',
        ),
        (
            mapping.internal_order_paid,
            [pay],
            f'{{{ABOUT},"paymentReference":"pay-1","total":99.98,"currency":"USD"}}',
        ),
        (mapping.internal_order_shipped, [pay, ship], f'{{{ABOUT},"items":[{PRICED}]}}'),
        (
            mapping.internal_order_cancelled,
            [cancel],
            f'{{{ABOUT},"items":[{PRICED}],"total":99.98,"currency":"USD",'
            '"paymentReference":null}',
        ),
        (
            mapping.internal_order_cancelled,
            [pay, cancel],
            f'{{{ABOUT},"items":[{PRICED}],"total":99.98,"currency":"USD",'
            '"paymentReference":"pay-1"}',
        ),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_payload_is_its_contract_to_the_byte(mapper, actions, payload):
    message = mapper(*after(*actions))

    assert message.payload() == payload
    assert type(message).from_payload(payload) == message
    assert message.message_version == "1.0"


def test_a_message_tells_of_the_order_as_it_was_at_its_event():
    order = placed()
    add(order)
    was_placed, was_added = order.collect_events()

    assert mapping.order_placed(was_placed, order).total == Decimal("99.98")
    assert len(mapping.internal_order_placed(was_placed, order).items) == 1
    assert mapping.item_added(was_added, order).total == Decimal("99.99")


def test_the_catalogue_is_asked_once_for_all_items():
    asked = []

    def names(skus):
        asked.append(sorted(skus))
        return {}

    mapping.order_shipped(*after(add, pay, ship), names=names)

    assert asked == [["G", "WIDGET-01"]]


@pytest.mark.parametrize(
    ("total", "number"),
    [("0.00", "0.0"), ("0.07", "0.07"), ("100.00", "100.0"), ("999999999.99", "999999999.99")],
)
def test_an_amount_is_an_exact_json_number(total, number):
    message = integration_events.OrderPaid(
        order_id="o", customer_id="c", total=Decimal(total), currency="USD"
    )

    assert f'"total":{number},' in message.payload()
    assert type(message).from_payload(message.payload()).total == Decimal(total)
