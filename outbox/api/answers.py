"""Answers: what the operators' part of the API gives, made of what the message store returns."""

import json
import math
from dataclasses import replace
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, WithJsonSchema

from outbox import dead_letter_listing, diagnosis
from outbox.conf import conf
from outbox.dead_letter_listing import DeadLetter
from outbox.envelope import timestamp
from outbox.message_store import DispatchedMessage, PendingMessage
from outbox.monitoring import Overview
from outbox.waiting import WaitingEvent

#: Levels of objects and lists that a payload is shown with; pydantic writes some more than 200.
DEEPEST = 100

#: Of a broker that is away, what staff is told.
BROKER_AWAY = "it can't be reached, or refuses to answer"

Moment = Annotated[
    datetime,
    PlainSerializer(timestamp, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
#: Any JSON value.
Json = Annotated[
    Any,
    WithJsonSchema(
        {"description": "As it was recorded; a text if it isn't JSON that could be given on."}
    ),
]


class PendingState(StrEnum):
    """Stuck are those that failed again and again, failed those that did so at least once."""

    STUCK = "stuck"
    FAILED = "failed"
    UNTRIED = "untried"


class WaitingState(StrEnum):
    """An untried one waits for its turn, for the most part."""

    TRIED = "tried"
    UNTRIED = "untried"


class DeadLetterState(StrEnum):
    """A replaying one waits for its subscriber to try it again."""

    DEAD = dead_letter_listing.DEAD
    REPLAYING = dead_letter_listing.REPLAYING
    REPLAYED = dead_letter_listing.REPLAYED
    DISCARDED = dead_letter_listing.DISCARDED


class Answer(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class MessageAnswer(Answer):
    """What all messages have. `id` names it in paths and in `ids`."""

    id: str
    event_id: str
    type: str
    version: str
    topic: str
    collection: str
    aggregate_id: str
    sequence: int
    occurred_at: Moment


class ContentAnswer(Answer):
    """What is shown of one message, and not in lists."""

    payload: Json
    metadata: dict[str, Any]


class PendingSummary(MessageAnswer):
    """A message that waits, in the list of those."""

    state: PendingState
    due_at: Moment
    attempts: int
    last_error: str


class PendingDetail(PendingSummary, ContentAnswer):
    """A message that waits, in full."""


class DispatchedSummary(MessageAnswer):
    """A message that was published, in the list of those."""

    dispatched_at: Moment


class DispatchedDetail(DispatchedSummary, ContentAnswer):
    """A message that was published, in full."""


class WaitingSummary(Answer):
    """An event that a subscriber has put aside, to try it again or until it is its turn."""

    id: str
    subscriber: str
    topic: str
    stream: str
    event_id: str
    type: str
    aggregate_id: str
    sequence: int
    state: WaitingState
    attempts: int = Field(description="Begun so far.")
    last_error: str = Field(description="Of the last attempt that failed and lived to tell.")
    died_in: int | None = Field(description="The attempt that the process died in, if it did.")
    due_at: Moment
    waits_since: Moment
    replays: str = Field(description="The dead letter that it was, or empty.")


class DeadLetterSummary(Answer):
    """A dead letter, in the list of those. `id` names it in paths and in `ids`.

    What couldn't be read as an event has no type, aggregate id or sequence, and for an event's id
    its place on the stream.
    """

    id: str
    subscriber: str
    state: DeadLetterState
    topic: str
    stream: str
    event_id: str
    type: str
    aggregate_id: str
    sequence: int | None
    correlation_id: str
    error: str
    error_type: str
    attempts: int
    first_failed_at: Moment
    failed_at: Moment
    closed_at: Moment | None
    closed_by: str
    reason: str


class DeadLetterDetail(DeadLetterSummary, ContentAnswer):
    """A dead letter, in full."""

    text: str = Field(description="The envelope, as it lay on the stream.")
    traceback: str


class PendingPage(BaseModel):
    """One page. `next` is the `cursor` of the page after it."""

    results: list[PendingSummary]
    next: str | None


class DispatchedPage(BaseModel):
    """One page, newest first. `next` is the `cursor` of the page after it."""

    results: list[DispatchedSummary]
    next: str | None


class WaitingPage(BaseModel):
    """One page, what has waited the longest first. `next` is the `cursor` of the page after it."""

    results: list[WaitingSummary]
    next: str | None


class DeadLetterPage(BaseModel):
    """One page, newest failure first. `next` is the `cursor` of the page after it."""

    results: list[DeadLetterSummary]
    next: str | None


class OperationAnswer(BaseModel):
    """What became of an operation, or would become of it."""

    count: int = Field(description="Acted on; in a dry run, what would be.")
    missed: int = Field(description="Not there any more, or nothing to do about them.")
    left: bool = Field(description="More match than are acted on at a time: send it again.")
    ids: list[str] = Field(description="Of those acted on; none in a dry run.")
    why: dict[str, str] = Field(description="What there is to say of some that were missed.")
    dry_run: bool


class OutboxPending(Answer):
    """What waits; `messages` is counted if `is_exact`, and else estimated."""

    messages: int
    is_exact: bool
    oldest: Moment | None


class OutboxTopic(Answer):
    name: str
    published: int
    published_per_minute: int = Field(description="In the last full minute.")
    entries: int | None = Field(description="On its streams; null if the broker is away.")


class OutboxSubscriber(Answer):
    """How far a subscriber is; null is what isn't known."""

    name: str
    topic: str
    lag: int | None = Field(description="Events not read; a lower bound unless `lag_is_exact`.")
    lag_is_exact: bool
    lag_seconds: float | None = Field(description="Age of the oldest not acknowledged.")
    unacknowledged: int | None
    deferred: int
    missing: int = Field(description="Deferred for an event before them that hasn't come.")
    dead_letters: int
    consumers: int = Field(description="Processes that were seen lately.")
    active: list[str] = Field(description="Those of them, host:pid, that have a stream.")
    breaker: str = Field(description="open, half-open, closed, or empty if it never changed.")


class OutboxFailing(Answer):
    """Events that a subscriber has tried in vain, and the one of them that was tried most often."""

    subscriber: str
    events: int = Field(description="Among the 200 that have waited the longest.")
    event_id: str
    attempts: int
    died: bool = Field(description="Whether the process died in the last attempt.")
    due_at: Moment


class OutboxLease(Answer):
    name: str
    holder: str = Field(description="host:pid")
    expires_at: Moment


class OutboxBreaker(Answer):
    name: str
    state: str
    process: str = Field(description="host:pid")
    since: Moment


class OutboxProcess(Answer):
    host: str
    pid: int
    seen_at: Moment
    roles: dict[str, Moment] = Field(description="What it was seen doing, and when at last.")


class OutboxProblem(Answer):
    level: Literal["warning", "bad"]
    code: str
    text: str
    advice: str
    subject: str = Field(description="The subscriber that it is about, if it is about one.")


class OutboxOverview(Answer):
    """The outbox at a moment of the store's clock."""

    level: Literal["well", "warning", "bad"]
    problems: list[OutboxProblem]
    at: Moment
    pending: OutboxPending
    refused: int = Field(description="Aggregates that had a message refused by the broker.")
    stuck: int
    dead_letters: int
    replaying: int
    published_per_minute: int
    broker_error: str = Field(description="Empty if the broker answers.")
    relay_seen: float | None = Field(description="Seconds since any relay was seen, if any was.")
    relay: str = Field(description="host:pid of the relay seen last, or empty.")
    topics: list[OutboxTopic]
    subscribers: list[OutboxSubscriber]
    failing: list[OutboxFailing]
    leases: list[OutboxLease]
    breakers: list[OutboxBreaker]
    processes: list[OutboxProcess]


def of_overview(state: Overview) -> dict[str, Any]:
    if state.broker_error:
        # What Redis' client says names hosts; on a server, `outbox_status` tells it.
        state = replace(state, broker_error=BROKER_AWAY)
    found = diagnosis.problems(state)
    return {**vars(state), "problems": found, "level": diagnosis.level(found)}


def of_pending(message: PendingMessage) -> dict[str, Any]:
    state = PendingState.FAILED if message.attempts else PendingState.UNTRIED
    if message.attempts >= conf.STUCK_AFTER:
        state = PendingState.STUCK
    return {**_shown(message), "id": message.key, "state": state}


def of_dispatched(message: DispatchedMessage) -> dict[str, Any]:
    return {**_shown(message), "id": message.event_id}


def of_waiting(event: WaitingEvent) -> dict[str, Any]:
    return {
        **vars(event),
        "id": event.key,
        "state": WaitingState.TRIED if event.attempts else WaitingState.UNTRIED,
        "last_error": event.error,
        "died_in": event.died_in,
        "waits_since": event.since,
    }


def of_dead_letter(letter: DeadLetter) -> dict[str, Any]:
    metadata = json_value(json.dumps(letter.metadata))
    # Who wrote it is somebody else, who may have written anything.
    return {
        **_shown(letter),
        "id": letter.key,
        "metadata": metadata if isinstance(metadata, dict) else {},
    }


def _shown(one: Any) -> dict[str, Any]:
    return {**vars(one), "payload": json_value(one.payload)}


def json_value(text: str) -> Any:
    """The value of a JSON text, or the text itself, if that isn't one that could be given on.

    It can't if it is no JSON, nested too deeply, or has a number or half a character in it that
    JSON's readers don't know.
    """
    try:
        value = json.loads(text, parse_float=_finite, parse_constant=_finite)
        json.dumps(value, ensure_ascii=False).encode()
        if not _is_deeper(value, DEEPEST):
            return value
    except (ValueError, RecursionError):
        pass
    return text.encode(errors="backslashreplace").decode()


def _is_deeper(value: Any, levels: int) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(levels == 0 or _is_deeper(one, levels - 1) for one in inner)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number
