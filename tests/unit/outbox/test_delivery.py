"""Reading envelopes: nothing that can lie on a stream raises anything but `UnreadableEvent`."""

import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from outbox import delivery
from outbox.consumer_group import _entry
from outbox.delivery import read
from outbox.errors import UnreadableEvent
from tests.integration.outbox.consuming import cloudevent, event


def parsed(envelope):
    return read(envelope if isinstance(envelope, str) else json.dumps(envelope), "notes")


@pytest.mark.parametrize("envelope", [event("n1", 7, eventId="e1"), cloudevent("n1", 7, id="e1")])
def test_both_envelopes_are_read(envelope):
    found = parsed(envelope)
    assert (found.event_id, found.type, found.version) == ("e1", "NotePublished", "1.1")
    assert (found.aggregate_id, found.sequence, found.topic) == ("n1", 7, "notes")
    assert found.occurred_at == datetime(2026, 11, 21, 10, 0, 0, 123000, UTC)
    assert found.payload == {"noteText": "hello"}
    assert (found.text, found.flaw) == (json.dumps(envelope), "")


def test_cloudevents_extensions_are_metadata_under_our_names():
    found = parsed(cloudevent("n1", 1, correlationid="c", causationid="d", traceparent="t"))
    assert found.metadata == {"correlationId": "c", "causationId": "d", "traceparent": "t"}


def test_fractions_are_exact_and_fields_that_nobody_knows_are_passed_over():
    text = json.dumps(event("n1", 1, more={"a": 1})).replace('"hello"', "99.990000000000000001")
    assert parsed(text).payload == {"noteText": Decimal("99.990000000000000001")}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "poison",
        "null",
        "[]",
        "1",
        '"text"',
        "{}",
        "{",
        '{"specversion": "1.0"}',
        "[" * 100_000,
        '{"a":' * 100_000,
        json.dumps(event("n1", 1))[:-5],
        "1" * 5000,
    ],
)
def test_what_is_no_envelope_is_unreadable(text):
    with pytest.raises(UnreadableEvent):
        parsed(text)


HALF = "\ud800"


@pytest.mark.parametrize(
    "changes",
    [
        {"eventId": None},
        {"eventId": ""},
        {"eventId": 7},
        {"eventId": HALF},
        {"aggregateId": ["n1"]},
        {"aggregateId": HALF},
        {"sequenceNumber": "1"},
        {"sequenceNumber": True},
        {"sequenceNumber": 1.0},
        {"sequenceNumber": 0},
        {"sequenceNumber": -1},
        {"sequenceNumber": 2**63},
        {"sequenceNumber": None},
    ],
)
def test_without_a_place_in_the_order_it_is_unreadable(changes):
    with pytest.raises(UnreadableEvent):
        parsed(event("n1", 1, **changes))


@pytest.mark.parametrize("value", ["1.0", "x", 1.5, True, None, [], "1e3", "", "0", "9" * 5000])
def test_so_it_is_in_a_cloudevent(value):
    with pytest.raises(UnreadableEvent):
        parsed(cloudevent("n1", 1) | {"sequence": value})


def test_a_sequence_of_a_million_digits_costs_nothing():
    text = json.dumps(cloudevent("n1", 1)).replace('"sequence": "1"', '"sequence": 1e999999')
    with pytest.raises(UnreadableEvent):
        parsed(text)


@pytest.mark.parametrize(
    "changes",
    [
        {"timestamp": "yesterday"},
        {"timestamp": 0},
        {"timestamp": "0001-01-01T00:00:00+23:00"},
        {"timestamp": None},
        {"version": 1},
        {"version": ""},
        {"eventType": None},
        {"eventType": HALF},
        {"metadata": []},
        {"metadata": "text"},
    ],
)
def test_a_flawed_envelope_keeps_its_place(changes):
    found = parsed(event("n1", 3, **changes))
    assert found.flaw
    assert (found.aggregate_id, found.sequence) == ("n1", 3)


@pytest.mark.parametrize("name", ["timestamp", "version", "eventType", "payload"])
def test_a_field_that_is_missing_is_named(name):
    envelope = event("n1", 3)
    del envelope[name]
    found = parsed(envelope)
    assert (found.flaw, found.sequence) == (f"It has no {name}.", 3)


@pytest.mark.parametrize("changes", [{"time": "?"}, {"type": 1}, {"dataversion": None}])
def test_a_flawed_cloudevent_keeps_its_place(changes):
    found = parsed(cloudevent("n1", 3, **changes))
    assert found.flaw
    assert (found.aggregate_id, found.sequence) == ("n1", 3)


@pytest.mark.parametrize(
    "payload",
    ["NaN", "Infinity", "-Infinity", "1e99999999999999999999", "1" * 5000, '"a\nb"', '"\\q"'],
)
def test_json_that_is_none_keeps_its_place_where_that_can_be_read(payload):
    text = json.dumps(event("n1", 3)).replace('"hello"', payload)
    if payload == '"\\q"':
        with pytest.raises(UnreadableEvent):
            parsed(text)
        return
    found = parsed(text)
    assert found.flaw.startswith("It isn't JSON")
    assert (found.aggregate_id, found.sequence) == ("n1", 3)


def test_bytes_that_are_not_utf_8_are_a_flaw_and_can_be_seen():
    raw = json.dumps(event("n1", 3, text="?")).encode().replace(b"?", b"\xff")
    entry = _entry(b"1-0", {b"event": raw})
    assert "\\xff" in entry.text
    found = parsed(entry.text)
    assert found.flaw.startswith("It isn't JSON")
    assert (found.aggregate_id, found.sequence) == ("n1", 3)


def test_one_that_no_document_can_hold_keeps_its_place_and_its_beginning(monkeypatch):
    monkeypatch.setattr(delivery, "LONGEST", 2_000)
    found = parsed(event("n1", 3, text="x" * 2_000))
    assert "more than can be kept" in found.flaw
    assert len(found.text) < 2_000
    again = parsed(found.text)
    assert again.flaw
    assert (again.aggregate_id, again.sequence) == ("n1", 3)


def test_the_context_goes_on_with_the_conversation():
    envelope = event("n1", 1, eventId="e1", metadata={"correlationId": "c", "traceparent": "t"})
    found = parsed(envelope).context()
    assert (found.correlation_id, found.traceparent, found.message_id) == ("c", "t", "e1")


def test_an_event_that_belongs_to_no_conversation_starts_one():
    found = parsed(event("n1", 1, eventId="e1", metadata=None)).context()
    assert found.correlation_id == "e1"
    assert found.traceparent.startswith("00-")
