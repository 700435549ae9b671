"""Schema: says what an operation takes and answers, problems and headers included, in one call."""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from pydantic import BaseModel, ConfigDict, Field

from outbox.api.problems import MEDIA_TYPE

F = TypeVar("F", bound=Callable[..., Any])

PROBLEMS = {
    400: "The request is malformed.",
    401: "No valid credentials.",
    403: "Not allowed, or a CSRF token is missing.",
    404: "There is no such thing.",
    406: "Only JSON can be had.",
    409: "Changed by somebody else at the same time, again and again; or the broker refuses it.",
    412: "No longer at the version that `If-Match` names.",
    411: "The body came without a `Content-Length`.",
    413: "The body is too large.",
    415: "The body is not JSON.",
    422: "A business rule says no, or the `Idempotency-Key` was used for another request.",
    429: "More writes than a user may do in a while; `Retry-After` says when to go on.",
    503: "Store or broker away, or too much waits in the document; nothing is known to be done.",
}
ALWAYS = (401, 403, 406, 503)
WITH_BODY = (400, 409, 411, 413, 415, 422, 429)

IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    {"type": "string", "minLength": 1, "maxLength": 255, "pattern": r"^[\u0021-\u007E]+$"},
    OpenApiParameter.HEADER,
    description="The same key gives the same answer, and one effect.",
)
IF_MATCH = OpenApiParameter(
    "If-Match",
    {"type": "string", "pattern": r'^(\*|"[1-9][0-9]*")$'},
    OpenApiParameter.HEADER,
    description='The only version to act on: an `ETag` such as `"3"`, or `*` for any.',
)
IF_NONE_MATCH = OpenApiParameter(
    "If-None-Match", str, OpenApiParameter.HEADER, description="The `ETag`s one has: 304 for these."
)


def query_parameters(model: type[BaseModel]) -> list[OpenApiParameter]:
    """The fields of a `model` that `validated_query` makes of a query, as parameters."""
    fields = model.model_json_schema()["properties"]
    return [
        OpenApiParameter(name, _or_empty(field), description=field.get("description", ""))
        for name, field in fields.items()
    ]


def _or_empty(field: dict[str, Any]) -> dict[str, Any]:
    """What a parameter may be: it counts as not given if it is empty, and is never null."""
    given = field.get("anyOf", [field])[0]
    schema = {name: value for name, value in given.items() if name not in ("title", "description")}
    if "enum" in schema:
        return {**schema, "enum": ["", *schema["enum"]]}
    if schema["type"] == "string" and "format" not in schema:
        return {name: value for name, value in schema.items() if name != "minLength"}
    return {"anyOf": [schema, {"type": "string", "maxLength": 0}]}


class ProblemError(BaseModel):
    """One thing that is wrong with the request, and where."""

    detail: str
    pointer: str | None = Field(None, description="A JSON pointer into the body.")
    parameter: str | None = Field(None, description="A parameter of the query.")
    header: str | None = Field(None, description="A header.")


class Problem(BaseModel):
    """RFC 9457 problem details."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=False)

    type: str
    title: str
    status: int
    detail: str
    instance: str
    errors: list[ProblemError] = Field(default_factory=list)


def operation(
    operation_id: str,
    summary: str,
    description: str,
    *,
    answer: type[BaseModel],
    body: type[BaseModel] | None = None,
    status: int = 200,
    headers: dict[str, str] | None = None,
    parameters: Iterable[OpenApiParameter] = (),
    problems: Iterable[int] = (),
) -> Callable[[F], F]:
    """Describe an operation that answers `answer` with `status`, and the response `headers` named.

    One with a `body` takes an `Idempotency-Key`. `problems` are the statuses that it can fail with
    beside those that all can.
    """
    parameters = [*parameters, *([IDEMPOTENCY_KEY] if body else [])]
    sent = [_sent(name, what, [status]) for name, what in (headers or {}).items()]
    sent += [
        _sent("WWW-Authenticate", "How to authenticate.", [401]),
        _sent("Retry-After", "Seconds to wait.", [429, 503]),
    ]
    failures = sorted({*ALWAYS, *problems, *(WITH_BODY if body else ())})
    responses: dict[Any, Any] = {(status, "application/json"): answer}
    if IF_NONE_MATCH in parameters:
        responses[304] = OpenApiResponse(description="Not modified.")
    responses |= {
        (code, MEDIA_TYPE): OpenApiResponse(Problem, description=PROBLEMS[code])
        for code in failures
    }
    return extend_schema(
        operation_id=operation_id,
        summary=summary,
        description=description,
        parameters=[*parameters, *sent],
        request=body,
        responses=responses,
    )


def _sent(name: str, description: str, statuses: list[int | str]) -> OpenApiParameter:
    return OpenApiParameter(
        name, str, OpenApiParameter.HEADER, description=description, response=statuses
    )
