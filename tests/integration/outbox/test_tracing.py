"""Traces: one from the HTTP request to the last handler, through relay, streams and consumers."""

from contextlib import nullcontext

import pytest
from django.http import HttpResponse
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased
from opentelemetry.trace import SpanKind, StatusCode

from outbox import Command, DomainError, MessageBus, context, delivery, effects, tracing
from outbox.breaker import Breaker
from outbox.consumer import Consumer
from outbox.discovery import bus, relays, subscribers
from outbox.middleware import MessageContextMiddleware
from outbox.relay import Relay, sweep_all
from tests import notes
from tests.integration.orders.client import as_staff, throttled_to
from tests.integration.outbox.consuming import (
    Stage,
    add,
    drain,
    event,
    letters,
    projection,
    recorded,
    waiting,
)

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED, UNSAMPLED = f"00-{TRACE}-{CALLER}-01", f"00-{TRACE}-{CALLER}-00"


class Spans:
    """What has been exported, and the provider that it came from."""

    def __init__(self, sampler):
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))

    def all(self):
        return self.exporter.get_finished_spans()

    def named(self, name):
        return [span for span in self.all() if span.name == name]

    def tree(self, parent=None):
        """Names and those of the children, as nested dicts, from a span id on."""
        mine = [span for span in self.all() if (span.parent and span.parent.span_id) == parent]
        names = [span.name for span in mine]
        assert len(set(names)) == len(names)
        return {span.name: self.tree(span.context.span_id) for span in mine}

    def traces(self):
        return {span.context.trace_id for span in self.all()}


@pytest.fixture
def traced(monkeypatch):
    """Switches tracing on. A process has one tracer provider for good, so here it is lent one."""

    def switch_on(sampler):
        spans = Spans(sampler)
        monkeypatch.setattr(trace, "_TRACER_PROVIDER", spans.provider)
        return spans

    return switch_on


@pytest.fixture
def spans(traced):
    return traced(ParentBased(ALWAYS_ON))


@pytest.fixture
def api(mongo, redis, settings):
    throttled_to(settings, None)
    return as_staff(1)


def go_round(*names):
    """Let the relays sweep, and after that these subscribers take what there is."""
    sweep_all(relays())
    for one in subscribers(names):
        Consumer(one, one.topic, bus=bus()).drain()


def test_one_trace_leads_from_the_request_through_relay_and_consumers_to_the_last_handler(
    api, spans
):
    api.set_stock("WIDGET-01", 5)
    spans.exporter.clear()

    api.placed()
    go_round("stock", "customer-orders")
    go_round("order-stock")
    go_round("customer-orders")

    assert len(spans.traces()) == 1
    assert spans.tree() == {
        "POST api/orders/": {
            "PlaceOrder": {
                "publish orders": {},
                "publish orders-internal": {},
                "handle OrderPlaced": {},
                "handle InternalOrderPlaced": {
                    "ReserveStock": {
                        "publish stock-internal": {},
                        "handle InternalStockReserved": {
                            "NoteReservation": {
                                "publish orders": {},
                                "handle OrderConfirmed": {},
                            }
                        },
                    }
                },
            }
        }
    }
    assert letters() == waiting() == []


def test_the_trace_is_the_callers_where_there_is_one(api, spans):
    api.place(traceparent=SAMPLED)

    assert spans.traces() == {int(TRACE, 16)}
    [request] = spans.named("POST api/orders/")
    assert f"{request.parent.span_id:016x}" == CALLER
    assert spans.tree(int(CALLER, 16)) == {"POST api/orders/": {"PlaceOrder": {}}}


def test_a_span_of_a_request_that_is_there_already_is_gone_on_from(api, spans, mongo):
    with spans.provider.get_tracer("django").start_as_current_span("GIVEN"):
        api.place(traceparent=SAMPLED)

    assert spans.tree() == {"GIVEN": {"PlaceOrder": {}}}
    [command] = spans.named("PlaceOrder")
    for pending in mongo["orders"].find_one()["outbox"]["pending"]:
        stored = pending["metadata"]["traceparent"]
        assert stored.split("-")[1:3] == [
            f"{command.context.trace_id:032x}",
            f"{command.context.span_id:016x}",
        ]


@pytest.mark.parametrize("is_given", [True, False])
def test_what_a_request_stores_without_a_command_is_in_its_trace_too(rf, spans, is_given):
    given = spans.provider.get_tracer("django").start_as_current_span("GET")
    seen = []

    def view(request):
        seen.append(context.current().traceparent)
        return HttpResponse()

    with given if is_given else nullcontext():
        MessageContextMiddleware(view)(rf.get("/"))

    [span] = spans.all()
    assert seen[0].split("-")[2] == f"{span.context.span_id:016x}"


def test_what_the_caller_has_not_sampled_has_no_spans_and_stays_in_its_trace(api, spans, mongo):
    api.place(traceparent=UNSAMPLED)
    [first, *_] = mongo["orders"].find_one()["outbox"]["pending"]
    go_round("stock", "customer-orders")

    assert spans.all() == ()
    flags = first["metadata"]["traceparent"].split("-")
    assert (flags[1], flags[3]) == (TRACE, "00")


def test_spans_say_what_they_are_of_in_the_words_of_the_conventions(api, spans, mongo):
    response = api.place(X_Correlation_ID="talk-1")
    order_id = response.json()["order_id"]
    messages = {one["topic"]: one for one in mongo["orders"].find_one()["outbox"]["pending"]}
    go_round("customer-orders")

    [request], [command] = spans.named("POST api/orders/"), spans.named("PlaceOrder")
    assert (request.kind, command.kind) == (SpanKind.SERVER, SpanKind.INTERNAL)
    assert dict(request.attributes) == {
        "http.request.method": "POST",
        "url.scheme": "http",
        "http.route": "api/orders/",
        "http.response.status_code": 201,
        "messaging.message.conversation_id": "talk-1",
    }
    message = {
        "messaging.system": "redis",
        "messaging.destination.name": "orders",
        "messaging.message.id": messages["orders"]["event_id"],
        "messaging.message.conversation_id": "talk-1",
        "outbox.aggregate_id": order_id,
    }
    [published] = spans.named("publish orders")
    assert published.kind is SpanKind.PRODUCER
    assert published.start_time < published.end_time
    assert dict(published.attributes) == message | {
        "messaging.operation.type": "send",
        "messaging.operation.name": "publish",
    }
    [handled] = spans.named("handle OrderPlaced")
    assert handled.kind is SpanKind.CONSUMER
    assert (
        dict(handled.attributes).items()
        >= (
            message
            | {
                "messaging.operation.type": "process",
                "messaging.operation.name": "handle",
                "messaging.consumer.group.name": "customer-orders",
                "outbox.attempt": 1,
            }
        ).items()
    )


def test_a_request_that_fails_is_an_error_and_one_that_is_refused_is_not(api, spans, monkeypatch):
    order_id = api.placed()
    spans.exporter.clear()

    assert api.command(order_id, "ship").status_code == 422
    [request] = spans.named("POST api/orders/<str:order_id>/ship/")
    [command] = spans.named("ShipOrder")
    assert request.status.status_code is StatusCode.UNSET
    assert command.status.status_code is StatusCode.OK
    assert [one.name for one in command.events] == ["exception"]

    monkeypatch.setattr("orders.handlers.OrderHandlers._load", lambda *_: 1 / 0)
    api.raise_request_exception = False
    assert api.command(order_id, "pay").status_code == 500
    [request] = spans.named("POST api/orders/<str:order_id>/pay/")
    [command] = spans.named("PayOrder")
    assert request.status.status_code is command.status.status_code is StatusCode.ERROR


def test_no_path_and_no_method_that_somebody_makes_up_is_in_a_span(api, spans):
    api.get("/api/customers/ann@example.com/orders/")
    api.generic("ANN", "/api/orders/")

    assert "ann" not in " ".join(span.to_json() for span in spans.all()).lower()
    assert [span.name.split()[0] for span in spans.all()] == ["GET", "HTTP"]


class Ring(Command, name="Ring"):
    pass


@pytest.mark.parametrize(
    ("opened", "parent"),
    [
        (None, None),
        (context.MessageContext(correlation_id="c"), None),
        (context.MessageContext(traceparent=SAMPLED), int(CALLER, 16)),
    ],
    ids=["anywhere", "in a conversation", "in a trace"],
)
def test_a_command_outside_of_requests_begins_a_trace_unless_it_is_in_one(spans, opened, parent):
    seen = []

    def ring():
        MessageBus({Ring: lambda command: seen.append(context.current())}).handle(Ring())

    if opened is None:
        ring()
    else:
        with context.use(opened):
            ring()

    [span] = spans.all()
    assert (span.parent and span.parent.span_id) == parent
    assert span.attributes["messaging.message.conversation_id"] == seen[0].correlation_id


@pytest.mark.parametrize("kind", Stage.KINDS)
def test_every_attempt_at_an_event_is_a_span_with_what_was_raised(
    mongo, redis, settings, kind, spans
):
    settings.OUTBOX_BACKOFF = 0
    fails = ["once"]

    def before(event, delivery):
        if fails:
            raise ValueError(fails.pop())

    add(redis, event("n1", 1, metadata={"traceparent": SAMPLED}))
    Stage(kind, before).finish()

    first, second = spans.named("handle NotePublished")
    assert f"{first.parent.span_id:016x}" == f"{second.parent.span_id:016x}" == CALLER
    assert [one.attributes["outbox.attempt"] for one in (first, second)] == [1, 2]
    assert first.status.status_code is StatusCode.ERROR
    assert [one.attributes["exception.message"] for one in first.events] == ["once"]
    assert second.status.status_code is StatusCode.UNSET


def test_a_command_that_an_event_leads_to_fails_the_handling_of_the_event(mongo, redis, spans):
    def refuse(command):
        raise DomainError("Not like this.")

    stage = Stage("embedded")
    stage.bus = MessageBus(dict.fromkeys(stage.bus._handles, refuse))
    add(redis, event("n1", 1, metadata={"traceparent": SAMPLED}))
    stage.drain()

    [handling], [command] = spans.named("handle NotePublished"), spans.named("Append")
    assert command.parent.span_id == handling.context.span_id
    assert command.status.status_code is StatusCode.OK
    assert handling.status.status_code is StatusCode.ERROR


def test_an_event_of_no_trace_begins_one(mongo, redis, spans):
    add(redis, event("n1", 1), event("n1", 2, metadata={"traceparent": ["not", "one"]}))
    drain(recorded(lambda event, delivery: None))

    assert [span.parent for span in spans.named("handle NotePublished")] == [None, None]


def test_the_many_events_of_projections_and_messages_cost_nothing_where_nobody_has_sampled_them(
    mongo, redis, traced
):
    """Not even a look at the sampler, which here would take all."""
    spans = traced(ALWAYS_ON)
    metadata = [{"traceparent": one} for one in (SAMPLED, UNSAMPLED, None, "")]
    add(redis, *(event("n1", number, metadata=one) for number, one in enumerate(metadata, 1)))

    drain(projection())

    assert len(spans.named("handle NotePublished")) == 1
    for traceparent in (SAMPLED, UNSAMPLED):
        note = notes.Note(traceparent)
        note.write("x")
        with context.use(context.MessageContext(traceparent=traceparent)):
            notes.repository().add(note)
    Relay("notes").sweep()
    assert [one.attributes["outbox.aggregate_id"] for one in spans.named("publish notes")] == [
        SAMPLED
    ]


def test_a_rebuild_is_in_nobodys_trace(mongo, spans):
    runner = effects.runner(
        projection(), bus=MessageBus({}), upcasters=(), breaker=Breaker("titles")
    )
    one = event("n1", 1, metadata={"traceparent": SAMPLED})
    one["payload"] = {"noteText": "x"}

    assert runner.operations(delivery._default(one, "notes", ""))
    assert spans.all() == ()


def test_a_publication_that_is_refused_is_a_span_with_the_attempt_and_the_error(
    mongo, redis, spans
):
    note = notes.Note("n1")
    note.write("x")
    with context.use(context.MessageContext(traceparent=SAMPLED)):
        notes.repository().add(note)
    redis.set("notes", "no stream")

    Relay("notes").sweep()

    [refused] = spans.named("publish notes")
    assert refused.status.status_code is StatusCode.ERROR
    assert refused.attributes["outbox.attempt"] == 1
    assert "WRONGTYPE" in refused.events[0].attributes["exception.message"]


def test_a_disabled_sdk_is_as_none(api, mongo, traced, monkeypatch):
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    traced(ALWAYS_ON)

    api.place(traceparent=SAMPLED)

    assert not tracing.is_on()
    for pending in mongo["orders"].find_one()["outbox"]["pending"]:
        assert pending["metadata"]["traceparent"] == SAMPLED
