"""What others are told: the payloads, to the byte."""

from decimal import Decimal
from functools import partial

import pytest

from orders import integration_events, mapping
from orders.domain.line import Line
from orders.domain.stock import Stock
from tests.unit.orders.test_order import LATER, LINE, placed

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


def add_managed(order):
    order.add_item(LINE, managed={"WIDGET-01"}, at=LATER)


def hold(order):
    order.note_reservation("WIDGET-01", 2, at=LATER)


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
            f'{{{ABOUT},"items":[{PRICED}],"total":99.98,"currency":"USD","reserve":[]}}',
        ),
        (
            mapping.internal_item_added,
            [add],
            f'{{{ABOUT},"items":[{{"sku":"G","quantity":1,"unitPrice":0.01}}],'
            '"total":99.99,"currency":"USD","reserve":[]}',
        ),
        (
            mapping.internal_order_paid,
            [pay],
            f'{{{ABOUT},"paymentReference":"pay-1","total":99.98,"currency":"USD"}}',
        ),
        (
            mapping.internal_order_shipped,
            [pay, ship],
            f'{{{ABOUT},"items":[{PRICED}],"reserved":[]}}',
        ),
        (
            mapping.internal_order_cancelled,
            [cancel],
            f'{{{ABOUT},"items":[{PRICED}],"total":99.98,"currency":"USD",'
            '"paymentReference":null,"reserved":[]}',
        ),
        (
            mapping.internal_order_cancelled,
            [pay, cancel],
            f'{{{ABOUT},"items":[{PRICED}],"total":99.98,"currency":"USD",'
            '"paymentReference":"pay-1","reserved":[]}',
        ),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_payload_is_its_contract_to_the_byte(mapper, actions, payload):
    message = mapper(*after(*actions))

    assert_contract(message, payload)


RESERVED = '[{"sku":"WIDGET-01","quantity":2}]'


@pytest.mark.parametrize(
    ("mapper", "actions", "payload"),
    [
        (
            mapping.internal_order_placed,
            [],
            f'{{{ABOUT},"items":[{PRICED}],"total":99.98,"currency":"USD","reserve":{RESERVED}}}',
        ),
        (
            mapping.internal_item_added,
            [add_managed],
            f'{{{ABOUT},"items":[{PRICED}],"total":199.96,"currency":"USD","reserve":{RESERVED}}}',
        ),
        (mapping.order_confirmed, [hold], f'{{{ABOUT},"status":"confirmed"}}'),
        (mapping.order_confirmed, [pay, hold], f'{{{ABOUT},"status":"paid"}}'),
        (
            mapping.internal_order_shipped,
            [hold, pay, ship],
            f'{{{ABOUT},"items":[{PRICED}],"reserved":{RESERVED}}}',
        ),
        (
            mapping.internal_order_cancelled,
            [hold, cancel],
            f'{{{ABOUT},"items":[{PRICED}],"total":99.98,"currency":"USD",'
            f'"paymentReference":null,"reserved":{RESERVED}}}',
        ),
        (mapping.internal_reservation_dropped, [cancel, hold], f'{{{ABOUT},"items":{RESERVED}}}'),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_what_stock_is_about_is_in_the_payload_to_the_byte(mapper, actions, payload):
    order = placed(managed={"WIDGET-01"})
    for action in actions:
        action(order)

    assert_contract(mapper(order.collect_events()[-1], order), payload)


def test_the_stocks_answers_are_their_contract_to_the_byte():
    stock = Stock("WIDGET-01", on_hand=2)
    stock.reserve("o-1", 2, at=LATER)
    stock.reserve("o-2", 1, at=LATER)
    held, refused = stock.collect_events()

    assert_contract(
        mapping.internal_stock_reserved(held, stock),
        '{"sku":"WIDGET-01","orderId":"o-1","quantity":2}',
    )
    assert_contract(
        mapping.internal_stock_insufficient(refused, stock),
        '{"sku":"WIDGET-01","orderId":"o-2","quantity":1}',
    )


def assert_contract(message, payload):
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


def test_a_confirmed_order_is_told_of_with_the_status_it_had():
    order = placed(managed={"WIDGET-01"})
    hold(order)
    confirmed = order.collect_events()[-1]
    pay(order)

    assert mapping.order_confirmed(confirmed, order).status == "confirmed"


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
