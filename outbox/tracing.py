"""Tracing: OpenTelemetry's spans for requests, commands, and messages published and handled.

Optional (the extra `tracing`), and on in a process that has a tracer provider. The trace goes from
message to message by the `traceparent` (W3C Trace Context) in their metadata, and so through the
relay and the streams: what publishes a message and what handles it are children of the command that
recorded it. Switched off, nothing here costs more than the check, and traceparents go through as
they are.

Names and attributes follow OpenTelemetry's semantic conventions, with `outbox.aggregate_id` and
`outbox.attempt` beside them. Nothing of a payload is in a span; exceptions are, with their texts.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from outbox import context, message_bus, signals
from outbox.delivery import Delivery
from outbox.envelope import Envelope
from outbox.errors import (
    AggregateAlreadyExists,
    AggregateNotFound,
    AlreadyHandled,
    ConcurrencyError,
    DomainError,
    MessageIdReused,
)
from outbox.messages import Command

try:
    from opentelemetry import trace
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ImportError:
    trace = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span, SpanKind, Tracer

Attributes = dict[str, str | int]

#: Methods that a span is named by; anybody can make up others.
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"})

#: The last digits of a traceparent that is sampled.
ODD = tuple("13579bdf")

#: What a command may be answered with when nothing is wrong.
ANSWERS = (
    AggregateAlreadyExists,
    AggregateNotFound,
    AlreadyHandled,
    ConcurrencyError,
    DomainError,
    MessageIdReused,
)


def connect() -> None:
    """Trace from now on, where that is switched on; more than once does no harm."""
    message_bus.around = handling_command
    for signal, receiver in (
        (signals.messages_published, _published),
        (signals.message_refused, _refused),
    ):
        signal.connect(receiver, dispatch_uid=f"outbox.tracing.{receiver.__name__}")


def is_on() -> bool:
    """Whether this process traces."""
    return _tracer() is not None


def is_sampled(message: Envelope | Delivery) -> bool:
    """Whether the trace that a message belongs to is kept."""
    return _is_sampled(message.metadata.get("traceparent"))


@contextmanager
def request(method: str, scheme: str, traceparent: str) -> "Iterator[Span | None]":
    """A span for a request, from its valid `traceparent` on ("" if it has none).

    None if there is one already (opentelemetry-instrumentation-django's, for example), which then
    is gone on from, or if this process doesn't trace.
    """
    tracer = _tracer()
    if tracer is None:
        yield None
    elif trace.get_current_span().get_span_context().is_valid:
        with _in_context(context.current()):
            yield None
    else:
        attributes: Attributes = {
            "http.request.method": method if method in METHODS else "_OTHER",
            "url.scheme": scheme,
        }
        kind, parent = trace.SpanKind.SERVER, _context_of(traceparent)
        with _span(tracer, _verb(method), kind, parent, attributes) as span:
            yield span


def answered(span: "Span | None", method: str, route: str, status: int) -> None:
    """Note in a request's span which of the URLs' patterns it was for, and the answer's status."""
    if span is None:
        return
    # Not the path itself: there are customers' ids in paths.
    if route:
        span.update_name(f"{_verb(method)} {route}")
        span.set_attribute("http.route", route)
    span.set_attribute("http.response.status_code", status)
    if status >= 500:
        span.set_status(trace.StatusCode.ERROR)


@contextmanager
def handling_command(command: Command) -> Iterator[None]:
    """A span for a command; the messages that it leads to go on from there."""
    tracer = _tracer()
    if tracer is None:
        yield
        return
    parent = None
    known = context.current().traceparent
    # One that isn't sampled may be new, and then is nobody's child.
    if not trace.get_current_span().get_span_context().is_valid and _is_sampled(known):
        parent = _context_of(known)
    with _span(tracer, command.message_name, trace.SpanKind.INTERNAL, parent, {}) as span:
        try:
            yield
        except ANSWERS:
            span.set_status(trace.StatusCode.OK)
            raise


@contextmanager
def handling_event(delivery: Delivery, subscriber: str, attempt: int) -> Iterator[None]:
    """A span for the handling of an event; what that leads to goes on from there."""
    tracer = _tracer()
    if tracer is None:
        yield
        return
    attributes = _attributes(delivery, "process", "handle")
    attributes["messaging.consumer.group.name"] = subscriber
    attributes["outbox.attempt"] = attempt
    kind, parent = trace.SpanKind.CONSUMER, _context_of(delivery.metadata.get("traceparent"))
    with _span(tracer, f"handle {delivery.type}", kind, parent, attributes):
        yield


def _published(
    sender: str, messages: list[Envelope], began: datetime, at: datetime, **kwargs: Any
) -> None:
    tracer = _tracer()
    if tracer is None:
        return
    begins, ends = _nanoseconds(began), _nanoseconds(at)
    for message in messages:
        if is_sampled(message):
            _publication(tracer, message, begins).end(ends)


def _refused(
    sender: str, message: Envelope | None, attempts: int, error: Exception, **kwargs: Any
) -> None:
    tracer = _tracer()
    if tracer is None or message is None or not is_sampled(message):
        return
    span = _publication(tracer, message, time.time_ns())
    span.set_attribute("outbox.attempt", attempts)
    span.record_exception(error)
    span.set_status(trace.StatusCode.ERROR, str(error))
    span.end()


def _publication(tracer: "Tracer", message: Envelope, began: int) -> "Span":
    return tracer.start_span(
        f"publish {message.topic}",
        _context_of(message.metadata.get("traceparent")),
        trace.SpanKind.PRODUCER,
        _attributes(message, "send", "publish"),
        start_time=began,
    )


@contextmanager
def _span(
    tracer: "Tracer", name: str, kind: "SpanKind", parent: "Context | None", attributes: Attributes
) -> "Iterator[Span]":
    """A span, which what happens in it goes on from; `parent` None: the one that is in force."""
    known = context.current()
    attributes["messaging.message.conversation_id"] = known.correlation_id
    with tracer.start_as_current_span(name, parent, kind, attributes) as span, _in_context(known):
        yield span


@contextmanager
def _in_context(known: context.MessageContext) -> Iterator[None]:
    """Have this message context go on from the span in force."""
    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    with context.use(replace(known, traceparent=carrier.get("traceparent", known.traceparent))):
        yield


def _attributes(message: Envelope | Delivery, kind: str, operation: str) -> Attributes:
    return {
        "messaging.system": "redis",
        "messaging.operation.type": kind,
        "messaging.operation.name": operation,
        "messaging.destination.name": message.topic,
        "messaging.message.id": message.event_id,
        "messaging.message.conversation_id": str(message.metadata.get("correlationId", "")),
        "outbox.aggregate_id": message.aggregate_id,
    }


def _tracer() -> "Tracer | None":
    return None if trace is None else _tracer_of(trace.get_tracer_provider())


@lru_cache(maxsize=1)
def _tracer_of(provider: Any) -> "Tracer | None":
    tracer = provider.get_tracer("outbox")
    idle = isinstance(tracer, trace.NoOpTracer | trace.ProxyTracer)
    return None if idle else tracer


def _context_of(traceparent: Any) -> "Context":
    # Of the propagator that the process has configured, only this part is in a message.
    return TraceContextTextMapPropagator().extract({"traceparent": str(traceparent or "")})


def _is_sampled(traceparent: Any) -> bool:
    # By the last bit of its flags: this is asked for every message, and parsing takes longer.
    return isinstance(traceparent, str) and traceparent.endswith(ODD)


def _verb(method: str) -> str:
    return method if method in METHODS else "HTTP"


def _nanoseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1e9)
