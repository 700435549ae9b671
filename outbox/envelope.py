"""The envelope: a message as it goes over the wire, and the default JSON for it.

`payload` was serialized once, at command time; publishing only frames it, so what was stored is
what is read, to the last digit.
"""

import json
from datetime import UTC, datetime
from json.encoder import encode_basestring as _quote
from typing import Any, NamedTuple


class Envelope(NamedTuple):
    """An integration event with all that is needed to publish it.

    `payload` is JSON text; `sequence` is gapless from 1 per aggregate and topic; `occurred_at` is
    aware, UTC, in milliseconds; `metadata` is stored as it is published.
    """

    event_id: str
    type: str
    version: str
    topic: str
    aggregate_id: str
    sequence: int
    occurred_at: datetime
    payload: str
    metadata: dict[str, Any]


_json = json.JSONEncoder(ensure_ascii=False).encode


def timestamp(moment: datetime) -> str:
    """ISO 8601 in UTC, with milliseconds and a `Z`."""
    if moment.utcoffset():
        moment = moment.astimezone(UTC)
    return moment.isoformat(timespec="milliseconds")[:23] + "Z"


def to_json(envelope: Envelope) -> str:
    """The default envelope: the payload framed in JSON, without being parsed."""
    return (
        f'{{"eventType": {_quote(envelope.type)}, "eventId": {_quote(envelope.event_id)}, '
        f'"timestamp": "{timestamp(envelope.occurred_at)}", '
        f'"version": {_quote(envelope.version)}, '
        f'"aggregateId": {_quote(envelope.aggregate_id)}, '
        f'"sequenceNumber": {envelope.sequence}, '
        f'"payload": {envelope.payload}, "metadata": {_as_json(envelope.metadata)}}}'
    )


def _as_json(metadata: dict[str, Any]) -> str:
    """As `_json` does it, and much faster for what it nearly always is: nothing but texts."""
    try:
        return f"{{{', '.join([f'{_quote(key)}: {_quote(metadata[key])}' for key in metadata])}}}"
    except TypeError:
        return _json(metadata)


def to_cloudevents(envelope: Envelope) -> str:
    """CloudEvents 1.0, structured JSON; ordering and conversation are extension attributes."""
    metadata = {key.lower(): value for key, value in envelope.metadata.items()}
    attributes = {
        "specversion": "1.0",
        "id": envelope.event_id,
        "source": f"/{envelope.topic}",
        "type": envelope.type,
        "subject": envelope.aggregate_id,
        "time": timestamp(envelope.occurred_at),
        "datacontenttype": "application/json",
        "dataversion": envelope.version,
        "sequence": str(envelope.sequence),
        **metadata,
    }
    return f'{_json(attributes)[:-1]}, "data": {envelope.payload}}}'
