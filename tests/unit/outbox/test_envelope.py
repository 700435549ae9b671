import json
from datetime import UTC, datetime, timedelta, timezone

import pytest

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


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"correlationId": 'c"1\n', "causationId": "é\U0001f600"},
        {"tenant": 7, "flags": [True, None], "correlationId": "c1"},
    ],
)
def test_metadata_is_framed_as_json_whatever_is_in_it(metadata):
    text = to_json(ENVELOPE._replace(metadata=metadata))
    assert json.loads(text)["metadata"] == metadata
    assert text.endswith(f'"metadata": {json.dumps(metadata, ensure_ascii=False)}}}')


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
