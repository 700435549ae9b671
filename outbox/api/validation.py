"""Validation: what a request says, as a pydantic model; or 400 with every place that is wrong."""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from rest_framework.exceptions import APIException
from rest_framework.request import Request

from outbox.api.problems import InvalidRequest

M = TypeVar("M", bound=BaseModel)

#: Errors that an answer lists; a request that was nothing but errors gets no longer answer.
LISTED = 50


class LengthRequired(APIException):
    """411."""

    status_code = 411
    default_detail = "Send the body with a Content-Length, not in chunks."


def validated_body(model: type[M], request: Request) -> M:
    """The request's JSON object as a `model`."""
    require_length(request)
    try:
        return model.model_validate(request.data)
    except ValidationError as error:
        raise InvalidRequest(
            [{"pointer": _pointer(where), "detail": what} for where, what in _errors(error)]
        ) from None


def require_length(request: Request) -> None:
    """Raise `LengthRequired` for a body in chunks.

    Django takes one for an empty body; that would be a puzzling answer.
    """
    if "Transfer-Encoding" in request.headers and "Content-Length" not in request.headers:
        raise LengthRequired()


def validated_query(model: type[M], query: Mapping[str, Any]) -> M:
    """The query parameters as a `model`; one of its own that is empty counts as not given."""
    given = {k: v for k, v in query.items() if v != "" or k not in model.model_fields}
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise InvalidRequest(
            [{"parameter": str(where[0]), "detail": what} for where, what in _errors(error)]
        ) from None


def _errors(error: ValidationError) -> list[tuple[tuple[int | str, ...], str]]:
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return [(one["loc"], one["msg"]) for one in found[:LISTED]]


def _pointer(where: tuple[int | str, ...]) -> str:
    """RFC 6901's JSON pointer, as a URI fragment."""
    return "#" + "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in where)
