import re

import pytest
from django.http import HttpResponse

from outbox import context
from outbox.middleware import MessageContextMiddleware

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_metadata_names_the_conversation_its_direct_cause_and_the_trace():
    with (
        context.use(context.MessageContext(correlation_id="c1", traceparent=TRACEPARENT)),
        context.handling("m1") as now,
    ):
        assert now.metadata() == {
            "correlationId": "c1",
            "causationId": "m1",
            "traceparent": TRACEPARENT,
        }


def test_outside_any_handler_every_conversation_is_a_new_one():
    assert context.current().correlation_id != context.current().correlation_id
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-00", context.current().traceparent)


def test_the_context_ends_with_its_block():
    with pytest.raises(RuntimeError), context.handling("m1"):
        raise RuntimeError
    assert context.current().message_id is None


def request(rf, **headers):
    seen = []

    def view(request):
        seen.append(context.current())
        return HttpResponse()

    response = MessageContextMiddleware(view)(rf.get("/", headers=headers))
    return seen[0], response


def test_the_middleware_takes_the_conversation_and_the_trace_from_the_request(rf):
    seen, response = request(rf, **{"X-Correlation-ID": "c-1", "traceparent": TRACEPARENT})
    assert (seen.correlation_id, seen.traceparent) == ("c-1", TRACEPARENT)
    assert response.headers["X-Correlation-ID"] == "c-1"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Correlation-ID": "a b", "traceparent": "00-xyz"},
        {"X-Correlation-ID": "x" * 129, "traceparent": f"00-{'0' * 32}-{'1' * 16}-01"},
    ],
)
def test_the_middleware_opens_a_new_conversation_where_the_request_has_no_valid_one(rf, headers):
    seen, response = request(rf, **headers)
    assert seen.correlation_id not in headers.values()
    assert seen.traceparent not in headers.values()
    assert response.headers["X-Correlation-ID"] == seen.correlation_id
