"""The handlers, through the bus, over the in-process store."""

from datetime import UTC, datetime
from decimal import Decimal
from uuid import uuid4

import pytest

from orders import messaging
from orders.catalogue import Catalogue
from orders.domain import commands
from orders.domain.line import Line
from orders.domain.order import Order
from outbox import StaleVersion
from outbox.discovery import bus

LINE = Line(sku="WIDGET-01", quantity=2, unit_price=Decimal("49.9"))


@pytest.fixture
def placed():
    return bus().handle(
        commands.PlaceOrder(order_id=str(uuid4()), customer_id="c-1", currency="USD", lines=(LINE,))
    )


def state(order):
    return {k: v for k, v in vars(order).items() if k not in ("stored", "_recorded")}


def test_what_was_saved_is_what_is_loaded(placed):
    for command in (
        commands.AddItem(order_id=placed.id, line=LINE),
        commands.PayOrder(order_id=placed.id, payment_reference="pay-1"),
        commands.ShipOrder(order_id=placed.id, carrier="DHL", tracking_number="0034"),
    ):
        saved = bus().handle(command)
        loaded = messaging.orders.get(placed.id)
        assert isinstance(saved, Order)
        assert state(loaded) == state(saved)


def test_a_command_is_for_the_version_it_expects(placed):
    with pytest.raises(StaleVersion):
        bus().handle(commands.CancelOrder(order_id=placed.id, reason="r", expected_version=2))
    assert bus().handle(
        commands.CancelOrder(order_id=placed.id, reason="r", expected_version=1)
    ).version == 2  # fmt: skip


def test_a_command_says_when_it_was_given():
    before = datetime.now(UTC)
    at = commands.CancelOrder(order_id="o-1", reason="r").at

    assert abs(at - before).total_seconds() < 5
    assert at.utcoffset().total_seconds() == 0
    assert at.microsecond % 1000 == 0, "as it can be stored"


def test_the_catalogue_names_what_it_knows():
    catalogue = Catalogue()
    catalogue.put("A", "first")
    catalogue.put("A", "Apple")
    catalogue.put("B", "Banana")

    assert catalogue.names(iter(["A", "A", "unknown"])) == {"A": "Apple"}


def test_the_catalogue_can_be_seeded_again(capsys):
    from django.core.management import call_command

    call_command("orders_seed_catalogue")
    call_command("orders_seed_catalogue")

    assert Catalogue().names(["WIDGET-01"]) == {"WIDGET-01": "Widget, small"}
    assert "5 products" in capsys.readouterr().out


def test_stock_of_an_expected_version_is_not_created():
    with pytest.raises(StaleVersion):
        bus().handle(commands.SetStock(sku=str(uuid4()), on_hand=1, expected_version=1))


def test_who_creates_a_stock_a_moment_too_late_sets_it(monkeypatch):
    sku, add = str(uuid4()), messaging.stocks.add

    def be_late(stock):
        monkeypatch.undo()
        bus().handle(commands.SetStock(sku=sku, on_hand=1))
        add(stock)

    monkeypatch.setattr(messaging.stocks, "add", be_late)
    stock = bus().handle(commands.SetStock(sku=sku, on_hand=9))

    assert (stock.version, messaging.stocks.get(sku).on_hand) == (2, 9)


def test_which_stock_is_managed_is_known_of_several_at_once():
    sku = str(uuid4())
    bus().handle(commands.SetStock(sku=sku, on_hand=0))

    assert messaging.stocks.managed(iter([sku, sku, "unmanaged"])) == {sku}
