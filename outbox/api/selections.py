"""Selections: which messages a request is about, in a list's query or an operation's body.

Pydantic models: what is validated is what the OpenAPI schema says. Types are strict, and a name
that isn't known here is refused, so that a filter which is misspelt doesn't select everything.
"""

import re
from dataclasses import fields
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, RootModel, WithJsonSchema
from rest_framework.request import Request

from outbox.api.problems import InvalidRequest
from outbox.api.validation import require_length, validated_body
from outbox.message_store import Selection
from outbox.operations import MOST

#: Messages of a page, unless `limit` says otherwise, and at most.
PAGE, LARGEST_PAGE = 50, 200

#: As RFC 3339 has it: what names no offset from UTC is nobody's time.
MOMENT = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def _moment(value: Any) -> datetime:
    if isinstance(value, str) and MOMENT.fullmatch(value):
        try:
            return datetime.fromisoformat(value.upper()).astimezone(UTC)
        except (ValueError, OverflowError):
            pass
    raise ValueError("a time with its offset from UTC, such as 2026-11-21T10:00:00Z")


def _true(value: Any) -> bool:
    """To Python, and so to a `Literal`, 1 is as good."""
    if value is not True:
        raise ValueError("true, or not there at all")
    return True


def _number(value: Any) -> Any:
    """The query's texts, as numbers."""
    return int(value) if re.fullmatch("[0-9]{1,9}", value) else value


Moment = Annotated[
    datetime,
    BeforeValidator(_moment),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
Text = Annotated[str, Field(min_length=1, max_length=2000)]
#: One line, with something to see in it.
Reason = Annotated[
    str,
    Field(
        pattern=r"^[^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f][^\x00-\x1f\x7f]*$",
        max_length=500,
        description="Is kept and logged: somebody will want to know.",
    ),
]


class Asked(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Filters(Asked):
    """What is given has to hold, all of it."""

    search: Text | None = Field(
        None, description="Exactly: an aggregate id, event id, correlation id or type."
    )
    topic: Text | None = None
    type: Text | None = None
    since: Moment | None = Field(None, description="From then on.")
    until: Moment | None = Field(None, description="Before then.")

    def selection(self) -> Selection:
        """What the message store selects by."""
        known = {field.name for field in fields(Selection)}
        given = self.model_dump(exclude_none=True)
        term = given.pop("search", "")
        return Selection(term=term, **{k: v for k, v in given.items() if k in known})


class PendingFilters(Filters):
    state: Literal["stuck", "failed", "untried"] | None = None


class DispatchedFilters(Filters):
    pass


class WaitingFilters(Filters):
    search: Text | None = Field(None, description="Exactly: an aggregate id or event id.")
    subscriber: Text | None = None
    state: Literal["tried", "untried"] | None = None


class DeadLetterFilters(Filters):
    subscriber: Text | None = None
    error_type: Text | None = Field(None, description="The class of the error.")
    state: Literal["dead", "replaying", "replayed", "discarded"] | None = Field(
        None, description="`dead` unless given."
    )


class Paging(Asked):
    """Of a list's query, what says which page."""

    limit: Annotated[int, Field(ge=1, le=LARGEST_PAGE), BeforeValidator(_number)] = PAGE
    cursor: Annotated[str, Field(max_length=5000)] | None = None


class PendingParameters(PendingFilters, Paging):
    pass


class DispatchedParameters(DispatchedFilters, Paging):
    pass


class WaitingParameters(WaitingFilters, Paging):
    pass


class DeadLetterParameters(DeadLetterFilters, Paging):
    pass


class Operation(Asked):
    """The base of all operations' bodies."""

    dry_run: bool = Field(False, description="Say what would be done, and do nothing.")

    def what(self) -> list[str] | Selection:
        """What `outbox.operations` is to act on."""
        raise NotImplementedError

    def words(self) -> str:
        """The filters, for the log; empty where ids were given."""
        raise NotImplementedError


class WithReason(Asked):
    reason: Reason


class IdsBody(Operation):
    """Those messages that are named."""

    ids: list[Text] = Field(min_length=1, max_length=MOST, description="As the lists give them.")

    def what(self) -> list[str]:
        return list(dict.fromkeys(self.ids))

    def words(self) -> str:
        return ""


class IdsWithReasonBody(IdsBody, WithReason):
    pass


class AllBody(Operation, Filters):
    """Those messages for which the filters hold."""

    all: Annotated[Literal[True], BeforeValidator(_true)] = Field(
        description=f"All that match, of which {MOST} at a time."
    )

    def what(self) -> Selection:
        return self.selection()

    def words(self) -> str:
        fields = self.model_dump(mode="json", exclude_none=True)
        given = [f"{k} {v}" for k, v in fields.items() if k not in ("all", "dry_run", "reason")]
        return "all" + (" with " + ", ".join(given) if given else "")


class AllPendingBody(AllBody, PendingFilters):
    pass


class AllPendingWithReasonBody(AllPendingBody, WithReason):
    pass


class AllDispatchedBody(AllBody, DispatchedFilters):
    pass


class AllDeadLettersBody(AllBody, DeadLetterFilters):
    state: Literal["dead", "replaying"] | None = Field(None, description="`dead` unless given.")


class AllDeadLettersWithReasonBody(AllDeadLettersBody, WithReason):
    pass


class RetryPending(RootModel[IdsBody | AllPendingBody]):
    pass


class DiscardPending(RootModel[IdsWithReasonBody | AllPendingWithReasonBody]):
    pass


class ReplayDispatched(RootModel[IdsBody | AllDispatchedBody]):
    pass


class ReplayDeadLetters(RootModel[IdsBody | AllDeadLettersBody]):
    pass


class DiscardDeadLetters(RootModel[IdsWithReasonBody | AllDeadLettersWithReasonBody]):
    pass


B = TypeVar("B", bound=RootModel[Any])


def validated_choice(body: type[RootModel[Any]], request: Request) -> Operation:
    """The request's body as that one of the two kinds that it is; never as both."""
    require_length(request)
    by_ids, matching = get_args(body.model_fields["root"].annotation)
    if isinstance(request.data, dict) and not request.data.keys() & {"ids", "all"}:
        raise InvalidRequest([{"pointer": "#", "detail": 'Either "ids", or "all": true.'}])
    asked: Operation = validated_body(by_ids if "ids" in request.data else matching, request)
    return asked
