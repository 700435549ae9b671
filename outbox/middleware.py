"""Middleware: opens the message context of each request."""

import re
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from outbox import context

HEADER = "X-Correlation-ID"
CORRELATION_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


class MessageContextMiddleware:
    """Takes the correlation id and the trace from the request to the messages it causes.

    Reads `X-Correlation-ID` and `traceparent` (W3C Trace Context), makes new ones where they are
    missing or malformed, and gives the correlation id back in the answer.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        correlation_id = request.headers.get(HEADER, "")
        traceparent = request.headers.get("traceparent", "")
        opened = context.MessageContext(
            **{"correlation_id": correlation_id}
            if CORRELATION_ID.fullmatch(correlation_id)
            else {},
            **{"traceparent": traceparent} if TRACEPARENT.fullmatch(traceparent) else {},
        )
        with context.use(opened):
            response = self.get_response(request)
        response.headers[HEADER] = opened.correlation_id
        return response
