"""Problems: every error of the API as RFC 9457 `application/problem+json`.

    {"type", "title", "status", "detail", "instance",
     "errors"?: [{"pointer" | "parameter" | "header", "detail"}, …]}

An exception of the outbox, or an app's own `DomainError`, has a `type` made of its class's name
and a `title` that is its docstring's first line; anything else is "about:blank", which says no
more than its status does.
"""

import inspect
import json
import logging
import re
from http import HTTPStatus
from typing import Any

from rest_framework.exceptions import APIException
from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response
from rest_framework.views import exception_handler as drf_exception_handler

from outbox import errors

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"

#: Seconds that a client should wait before it asks a store again that was away.
RETRY_AFTER = 5

#: The status of an exception is that of the first of its classes in here.
STATUSES: dict[type[Any], int] = {
    errors.AggregateNotFound: 404,
    errors.AggregateAlreadyExists: 409,
    errors.ConcurrencyError: 409,
    errors.StaleVersion: 412,
    errors.DomainError: 422,
    errors.MessageIdReused: 422,
    errors.NoSuchMessage: 404,
    # Of the state that the broker is in, and mended there: the request was a good one.
    errors.PublishError: 409,
    errors.OutboxFull: 503,
    errors.StoreUnavailable: 503,
    errors.MissingIndex: 503,
    errors.BrokerUnavailable: 503,
}

Problem = dict[str, Any]


class InvalidRequest(APIException):
    """400, with the places that are wrong.

    Each of `errors` is {"detail"} and one of "pointer" (into the body), "parameter" (of the query)
    and "header".
    """

    status_code = 400
    default_detail = "The request is not valid; `errors` says where."

    def __init__(self, errors: list[dict[str, str]]) -> None:
        super().__init__()
        self.errors = errors


def exception_handler(exception: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's `EXCEPTION_HANDLER`. None, and so a 500, for what nobody expected."""
    request = context["request"]
    response = drf_exception_handler(exception, context)
    if response is not None:
        problem = of_status(response.status_code, _words(response.data))
        if isinstance(exception, InvalidRequest):
            problem["errors"] = exception.errors
    elif status := _status(exception):
        problem = _of_exception(exception, status)
        response = Response(status=status)
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            logger.warning("%s", exception, extra={"action": "request"})
            response["Retry-After"] = str(RETRY_AFTER)
    else:
        return None
    response.data = problem | {"instance": request.path}
    response.content_type = MEDIA_TYPE
    # Whatever the view gives otherwise, be it HTML or YAML, a problem is JSON.
    request.accepted_renderer, request.accepted_media_type = JSONRenderer(), MEDIA_TYPE
    return response


def of_status(status: int, detail: str | None = None) -> Problem:
    """The problem that says no more than its status does."""
    known = HTTPStatus(status)
    return {
        "type": "about:blank",
        "title": known.phrase,
        "status": status,
        "detail": detail or known.description or known.phrase,
    }


def _status(exception: Exception) -> int | None:
    return next((STATUSES[c] for c in type(exception).__mro__ if c in STATUSES), None)


def _of_exception(exception: Exception, status: int) -> Problem:
    name, doc = type(exception).__name__, inspect.getdoc(type(exception)) or ""
    title = doc.partition("\n")[0]
    return {
        "type": "urn:problem-type:" + re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower(),
        "title": title,
        "status": status,
        # Of a failure on our side, the message may name hosts: that is for the log.
        "detail": str(exception) if status < HTTPStatus.INTERNAL_SERVER_ERROR else title,
    }


def _words(data: Any) -> str:
    """The text of what DRF would have answered, which for its own serializers is a tree."""
    detail = data.get("detail", data) if isinstance(data, dict) else data
    return str(detail) if isinstance(detail, str) else json.dumps(detail)
