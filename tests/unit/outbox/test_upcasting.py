import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from pydantic import BaseModel, ConfigDict

from outbox import IntegrationEvent, Upcaster
from outbox.delivery import read
from outbox.errors import MessagingError, UnreadableEvent
from outbox.upcasting import event_of, upcast


class Line(BaseModel):
    model_config = IntegrationEvent.model_config

    sku: str
    unit_price: Decimal


class Sold(IntegrationEvent, name="Sold", version="2.1"):
    customer_id: str
    currency: str
    lines: tuple[Line, ...] = ()
    weight: float = 0.0
    at: datetime | None = None
    label: str = ""


class StrictlySold(Sold, name="Sold", version="2.1"):
    model_config = ConfigDict(strict=True)


def delivered(payload, version="2.1", type="Sold"):
    """As it comes off a stream; `payload` may be JSON text."""
    framed = {
        "eventType": type,
        "eventId": "e1",
        "timestamp": "2026-01-01T00:00:00.000Z",
        "version": version,
        "aggregateId": "a",
        "sequenceNumber": 1,
        "payload": "PAYLOAD",
    }
    text = payload if isinstance(payload, str) else json.dumps(payload)
    return read(json.dumps(framed).replace('"PAYLOAD"', text), "sales")


def add_currency(payload):
    payload["currency"] = "USD"
    return payload


def rename_customer(payload):
    return {"customerId": payload["customer"], **payload}


UPCASTERS = [
    Upcaster("Sold", "1.0", "1.1", rename_customer),
    Upcaster("Sold", "1.1", "2.0", add_currency),
    Upcaster("Other", "1.1", "9.0", lambda payload: {}),
]
OLD, NEW = {"customer": "c"}, {"customerId": "c", "currency": "EUR"}


def test_a_payload_takes_all_steps_from_its_version_on():
    assert upcast(UPCASTERS, "Sold", "1.0", OLD) == (
        "2.0",
        {"customer": "c", "customerId": "c", "currency": "USD"},
    )
    assert upcast(UPCASTERS, "Sold", "1.1", {}) == ("2.0", {"currency": "USD"})
    assert upcast(UPCASTERS, "Sold", "2.0", NEW) == ("2.0", NEW)
    assert upcast((), "Sold", "1.0", OLD) == ("1.0", OLD)


def test_what_an_upcaster_changes_in_place_is_its_own():
    nested = {"customerId": {"in": [1]}}

    def change(payload):
        payload["customerId"]["in"].append(2)
        return payload

    upcaster = [Upcaster("Sold", "1.0", "2.0", change)]
    for _ in range(2):
        assert upcast(upcaster, "Sold", "1.0", nested)[1] == {"customerId": {"in": [1, 2]}}


def test_upcasters_that_lead_in_a_circle_are_refused():
    back = Upcaster("Sold", "2.0", "1.1", add_currency)
    with pytest.raises(MessagingError, match=r"Sold lead in a circle: 1\.1 comes up again"):
        upcast([*UPCASTERS, back], "Sold", "1.0", OLD)
    with pytest.raises(MessagingError, match="circle"):
        upcast([Upcaster("Sold", "1.0", "1.0", add_currency)], "Sold", "1.0", OLD)


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda payload: payload["missing"], r"KeyError\('missing'\)"),
        (lambda payload: None, "it returned a NoneType, and not a dict"),
    ],
)
def test_an_upcaster_that_fails_makes_the_event_unreadable(function, reason):
    with pytest.raises(UnreadableEvent, match=rf"upcaster of Sold from 1\.0 failed: .*{reason}"):
        upcast([Upcaster("Sold", "1.0", "2.0", function)], "Sold", "1.0", OLD)


def test_an_old_event_is_read_as_the_class_that_the_handler_knows():
    event = event_of(Sold, delivered(OLD, "1.0"), UPCASTERS)
    assert event == Sold(customer_id="c", currency="USD")


def test_an_event_is_upcast_no_further_than_the_handler_knows():
    class SoldBefore(IntegrationEvent, name="Sold", version="1.1"):
        customer_id: str

    class SoldLongBefore(IntegrationEvent, name="Sold", version="1.0"):
        customer: str

    assert event_of(SoldBefore, delivered(OLD, "1.0"), UPCASTERS).customer_id == "c"
    assert event_of(SoldLongBefore, delivered(OLD, "1.0"), UPCASTERS).customer == "c"

    further = [UPCASTERS[0], Upcaster("Sold", "1.1", "1.2", lambda payload: {})]
    assert event_of(SoldBefore, delivered(OLD, "1.0"), further).customer_id == "c"

    # Not known to the letter, but of the known major version.
    class SoldMinor(IntegrationEvent, name="Sold", version="1.7"):
        customer_id: str

    assert event_of(SoldMinor, delivered(OLD, "1.0"), UPCASTERS).customer_id == "c"


@pytest.mark.parametrize("version", ["2.0", "2.1", "2.7", "2"])
def test_fields_that_the_class_does_not_know_are_passed_over_nested_ones_too(version):
    lines = [{"sku": "s", "unitPrice": 1, "discount": {"a": 1}}]
    event = event_of(Sold, delivered({**NEW, "lines": lines, "newer": [1]}, version), ())
    assert event == Sold(
        customer_id="c", currency="EUR", lines=(Line(sku="s", unit_price=Decimal(1)),)
    )
    assert not hasattr(event, "newer")


@pytest.mark.parametrize("event_class", [Sold, StrictlySold])
def test_values_are_read_from_what_json_has_for_them(event_class):
    event = event_of(
        event_class,
        delivered(
            '{"customerId": "c", "currency": "EUR", "at": "2026-01-01T00:00:00Z", "weight": 3,'
            '"lines": [{"sku": "a", "unitPrice": 0.10000000000000000001},'
            ' {"sku": "b", "unitPrice": 2}, {"sku": "c", "unitPrice": "1.50"}]}'
        ),
        (),
    )
    assert [str(line.unit_price) for line in event.lines] == ["0.10000000000000000001", "2", "1.50"]
    assert isinstance(event.lines, tuple)
    assert event.at == datetime(2026, 1, 1, tzinfo=UTC)
    assert (event.weight, type(event.weight)) == (3.0, float)
    weight = event_of(Sold, delivered('{"customerId":"c","currency":"E","weight":1.5}'), ()).weight
    assert (weight, type(weight)) == (1.5, float)


def test_what_a_class_published_it_reads_again():
    event = Sold(
        customer_id="c",
        currency="EUR",
        lines=(Line(sku="a", unit_price=Decimal("0.10")),),
        weight=0.1,
        at=datetime(2026, 1, 1, 0, 0, 0, 123_000, UTC),
    )
    assert event_of(Sold, delivered(event.payload()), ()) == event


@pytest.mark.parametrize(
    ("version", "upcasters"),
    [("1.0", ()), ("3.0", UPCASTERS), ("21.0", ()), ("1.0", UPCASTERS[:1])],
)
def test_an_unknown_major_version_is_refused_and_says_what_to_declare(version, upcasters):
    with pytest.raises(UnreadableEvent) as refusal:
        event_of(Sold, delivered(OLD, version), upcasters)
    assert f"a Sold of version {version}, and known is 2.1" in str(refusal.value)
    assert f'Upcaster("Sold", "{version}", "2.1", …)' in str(refusal.value)


def test_a_payload_that_does_not_fit_is_refused_with_short_reasons():
    with pytest.raises(UnreadableEvent) as refusal:
        event_of(
            Sold,
            delivered({"currency": ["x" * 5000], "lines": [{"sku": "a", "unitPrice": "much"}]}),
            (),
        )
    assert str(refusal.value) == (
        "It isn't a Sold of version 2.1: customerId: Field required; "
        "currency: Input should be a valid string; "
        "lines.0.unitPrice: Input should be a valid decimal."
    )
    many = {**NEW, "lines": [{}] * 5000}
    with pytest.raises(UnreadableEvent, match="and 9995 more") as refusal:
        event_of(Sold, delivered(many), ())
    assert len(str(refusal.value)) < 300


@pytest.mark.parametrize("payload", [None, [1], "text", 7])
def test_a_payload_that_is_no_object_is_refused(payload):
    with pytest.raises(UnreadableEvent, match=r"version 2\.1: Input should be a"):
        event_of(Sold, delivered(json.dumps(payload)), ())
    with pytest.raises(UnreadableEvent):
        event_of(Sold, delivered(json.dumps(payload), "1.0"), UPCASTERS)
