"""The delivery: an event as it comes off a stream, with all that is known of it."""

import json
import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple

from outbox.context import MessageContext, new_traceparent, trace_id
from outbox.errors import UnreadableEvent

#: Bytes of an envelope that a document of MongoDB, of 16 MB at most, has room for.
LONGEST = 15_000_000


#: The envelope's texts.
NAMES = ("eventId", "eventType", "version", "aggregateId")


class Delivery(NamedTuple):
    """What a handler is told beside the event.

    The fields are the envelope's. `payload` is parsed JSON, its fractions `Decimal`; None in a
    tombstone, which stands in the place of an event that was discarded. `text` is the envelope as
    it lay on the stream. `flaw` says what is wrong with an envelope of which no more than its place
    in the order could be read; no handler gets to see one.
    `added_at` is when it was added to the stream: seconds since the epoch, by Redis' clock; None
    where that isn't known any more.
    """

    event_id: str
    type: str
    version: str
    topic: str
    aggregate_id: str
    sequence: int
    occurred_at: datetime
    payload: Any
    metadata: dict[str, Any]
    text: str
    flaw: str = ""
    added_at: float | None = None

    @property
    def named(self) -> str:
        """Which event it is, for a log line."""
        where = f"number {self.sequence} of {self.aggregate_id} in {self.topic}"
        return f"{self.type} {self.event_id} ({where})"

    @property
    def log(self) -> dict[str, Any]:
        """What a log record has beside its text."""
        return {
            "event_id": self.event_id,
            "aggregate_id": self.aggregate_id,
            "topic": self.topic,
            "correlation_id": self.metadata.get("correlationId"),
            "trace_id": trace_id(self.metadata.get("traceparent")),
        }

    def context(self) -> MessageContext:
        """The context for what this event causes: the same conversation, the event its cause."""
        known = self.metadata.get
        return MessageContext(
            correlation_id=str(known("correlationId") or self.event_id),
            traceparent=str(known("traceparent") or new_traceparent()),
            message_id=self.event_id,
        )


def read(text: str, topic: str) -> Delivery:
    """The delivery of an envelope in either of the formats that `outbox.envelope` writes.

    Fields that this version doesn't know are passed over. Raises `UnreadableEvent` for what isn't
    an envelope at all; what is one with a flaw still takes its place in its aggregate's order.
    """
    try:
        found = _parse(text)
    except _REFUSALS as error:
        return _flawed(_salvage(text), topic, text, f"It isn't JSON: {error}")
    if not isinstance(found, dict):
        raise UnreadableEvent("It isn't a JSON object.")
    if len(text) > LONGEST // 4 and (size := len(text.encode())) > LONGEST:
        beginning = json.dumps({**_place(found), "beginning": text[:1000]})
        return _flawed(found, topic, beginning, f"It has {size} bytes, more than can be kept.")
    form = _cloudevent if "specversion" in found else _default
    try:
        return form(found, topic, text)
    except KeyError as error:
        flaw = f"It has no {error.args[0]}."
    except _REFUSALS as error:
        flaw = str(error)
    return _flawed(found, topic, text, flaw)


#: What is raised for what can't be read; for a number or a time out of range, `ArithmeticError`.
_REFUSALS = (ValueError, TypeError, ArithmeticError, RecursionError, UnreadableEvent)


def _flawed(found: Any, topic: str, text: str, flaw: str) -> Delivery:
    if not isinstance(found, dict):
        raise UnreadableEvent(flaw)
    form = _cloudevent if "specversion" in found else _default
    try:
        return form({**_PLACEHOLDERS, **_place(found)}, topic, text)._replace(flaw=flaw)
    except (KeyError, *_REFUSALS):
        raise UnreadableEvent(flaw) from None


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number there")


_parse = json.JSONDecoder(parse_float=Decimal, parse_constant=_no_number).decode
_parse_leniently = json.JSONDecoder(
    parse_float=str, parse_int=lambda digits: int(digits[:20]), parse_constant=str, strict=False
).decode

#: What the consumer group makes of a byte that isn't UTF-8.
_STRANGE_BYTE = re.compile(r"\\(?=x[0-9a-f]{2})")


def _salvage(text: str) -> Any:
    """What is all but JSON, to read its place in the order from; None if that can't be had."""
    try:
        return _parse_leniently(_STRANGE_BYTE.sub(r"\\\\", text))
    except (ValueError, RecursionError):
        return None


#: In place of what a flawed envelope doesn't say, or not so that it can be read.
_PLACEHOLDERS = {
    **dict.fromkeys(("eventType", "type", "version", "dataversion"), "?"),
    **dict.fromkeys(("timestamp", "time"), "1970-01-01T00:00:00Z"),
    **dict.fromkeys(("payload", "data"), None),
}


def _place(found: dict[str, Any]) -> dict[str, Any]:
    """The ids and the number of an envelope, and its type if that is one."""
    names = ("eventId", "aggregateId", "sequenceNumber", "id", "subject", "sequence", "specversion")
    types = [name for name in ("eventType", "type") if _is_text(found.get(name))]
    return {name: found[name] for name in (*names, *types) if name in found}


def _default(found: Any, topic: str, text: str) -> Delivery:
    names = found["eventId"], found["eventType"], found["version"], found["aggregateId"]
    # All at once and by position, since this is done for every event of every subscriber.
    if not (all(names) and "".join(names).isascii()):
        for one in NAMES:
            _text(found, one)
    event_id, event_type, version, aggregate_id = names
    return Delivery(
        event_id,
        event_type,
        version,
        topic,
        aggregate_id,
        _sequence(found["sequenceNumber"]),
        _moment(found["timestamp"]),
        found["payload"],
        _metadata(found.get("metadata")),
        text,
    )


def _cloudevent(found: Any, topic: str, text: str) -> Delivery:
    # CloudEvents' own names are lower-case; ours are given back.
    names = {"correlationid": "correlationId", "causationid": "causationId"}
    known = {"specversion", "id", "source", "type", "subject", "time", "datacontenttype"}
    known |= {"dataversion", "sequence", "data"}
    return Delivery(
        event_id=_text(found, "id"),
        type=_text(found, "type"),
        version=_text(found, "dataversion"),
        topic=topic,
        aggregate_id=_text(found, "subject"),
        sequence=_sequence(_number(found["sequence"])),
        occurred_at=_moment(found["time"]),
        payload=found["data"],
        metadata={names.get(k, k): v for k, v in found.items() if k not in known},
        text=text,
    )


def _text(found: Any, name: str) -> str:
    value = found[name]
    if not _is_text(value):
        raise UnreadableEvent(f"Its {name} is {value!r}, and not a text.")
    return str(value)


def _is_text(value: Any) -> bool:
    """Whether it is one, and not empty; JSON can escape half a character, which is none."""
    if type(value) is not str or not value:
        return False
    return value.isascii() or not any("\ud800" <= one <= "\udfff" for one in value)


def _number(value: Any) -> Any:
    # CloudEvents' sequence is a text.
    return int(value) if isinstance(value, str) else value


def _sequence(value: Any) -> int:
    if type(value) is not int or not 1 <= value < 2**63:
        raise UnreadableEvent(f"Its sequence number is {value!r}, and not a number from 1.")
    return value


def _moment(value: Any) -> datetime:
    moment = datetime.fromisoformat(value)  # no text: TypeError
    if moment.tzinfo is UTC:
        return moment
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _metadata(value: Any) -> dict[str, Any]:
    if value is not None and not isinstance(value, dict):
        raise UnreadableEvent(f"Its metadata is {value!r}, and not an object.")
    return value or {}
