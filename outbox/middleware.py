"""Middleware: opens the message context of each request."""

import re
from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse

from outbox import context, tracing

HEADER = "X-Correlation-ID"
CORRELATION_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


class MessageContextMiddleware:
    """Takes the correlation id and the trace from the request to the messages it causes.

    Reads `X-Correlation-ID` and `traceparent` (W3C Trace Context), makes new ones where they are
    missing or malformed, and gives the correlation id back in the answer. Where the process traces
    (see `outbox.tracing`), the request has a span.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        given: dict[str, Any] = {
            name: text
            for name, header, pattern in (
                ("correlation_id", HEADER, CORRELATION_ID),
                ("traceparent", "traceparent", TRACEPARENT),
            )
            if pattern.fullmatch(text := request.headers.get(header, ""))
        }
        opened = context.MessageContext(**given)
        method = request.method or ""
        with (
            context.use(opened),
            tracing.request(method, request.scheme or "", given.get("traceparent", "")) as span,
        ):
            response = self.get_response(request)
            route = request.resolver_match.route if request.resolver_match else ""
            tracing.answered(span, method, route, response.status_code)
        response.headers[HEADER] = opened.correlation_id
        return response
