import json
from datetime import UTC, datetime, timedelta, timezone

from outbox.envelope import Envelope, timestamp, to_cloudevents, to_json

ENVELOPE = Envelope(
    event_id="e1",
    type="OrderPlaced",
    version="1.0",
    topic="orders",
    aggregate_id='o"1',
    sequence=7,
    occurred_at=datetime(2025, 6, 28, 10, 0, tzinfo=UTC),
    payload='{"total": 0.10000000000000000001}',
    metadata={"correlationId": "c1", "causationId": "é", "traceparent": "00-a-b-01"},
)


def test_the_default_envelope_has_exactly_the_designed_keys_in_their_order():
    read = json.loads(to_json(ENVELOPE))
    assert list(read) == [
        "eventType",
        "eventId",
        "timestamp",
        "version",
        "aggregateId",
        "sequenceNumber",
        "payload",
        "metadata",
    ]
    assert read["timestamp"] == "2025-06-28T10:00:00.000Z"
    assert read["aggregateId"] == 'o"1'
    assert read["metadata"] == ENVELOPE.metadata


def test_the_payload_is_framed_to_the_letter_and_never_parsed():
    assert f'"payload": {ENVELOPE.payload}, ' in to_json(ENVELOPE)
    assert f'"data": {ENVELOPE.payload}}}' in to_cloudevents(ENVELOPE)


def test_timestamps_are_utc_wherever_the_moment_was_noted():
    moment = datetime(2025, 6, 28, 12, 0, 0, 999_999, timezone(timedelta(hours=2)))
    assert timestamp(moment) == "2025-06-28T10:00:00.999Z"


def test_the_cloudevents_envelope_has_the_required_attributes_and_legal_names():
    read = json.loads(to_cloudevents(ENVELOPE))
    assert {k: read[k] for k in ("specversion", "id", "source", "type", "subject")} == {
        "specversion": "1.0",
        "id": "e1",
        "source": "/orders",
        "type": "OrderPlaced",
        "subject": 'o"1',
    }
    assert all(name.isalnum() and name.islower() for name in read)
