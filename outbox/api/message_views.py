"""Views of the outbox for its operators that only read: the overview, and the message store."""

from typing import Any

from pydantic import BaseModel
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response

from outbox import dead_letter_listing, dispatched, monitoring, pending, waiting
from outbox.api import answers, selections
from outbox.api.base import OutboxView
from outbox.api.permissions import IsStaffUnlessOpened
from outbox.api.problems import InvalidRequest
from outbox.api.schema import operation, query_parameters
from outbox.api.validation import validated_query
from outbox.errors import InvalidCursor
from outbox.message_store import Selection

STAFF = "Staff only. "
PAGED = (
    "A walk along `next` sees everything once that is there from its beginning to its end. Filters "
    "that no index serves are looked for among the first messages only."
)


class StaffView(OutboxView):
    """For staff; opened by `ANONYMOUS_ACCESS` for reading only."""

    permission_classes = (IsStaffUnlessOpened,)


class Overview(StaffView):
    @operation(
        "get_outbox_overview",
        "See how the outbox does",
        STAFF + "What waits, what is stuck, who is at work, and what is wrong in plain words. "
        "Costs the same whatever there is.",
        answer=answers.OutboxOverview,
    )
    def get(self, request: Request) -> Response:
        state = monitoring.overview()
        return _answer(answers.OutboxOverview, answers.of_overview(state))


class PendingMessages(StaffView):
    @operation(
        "list_pending_messages",
        "List what waits to be published",
        STAFF + "What has been due the longest comes first. " + PAGED,
        answer=answers.PendingPage,
        parameters=query_parameters(selections.PendingParameters),
        problems=[400],
    )
    def get(self, request: Request) -> Response:
        asked = validated_query(selections.PendingParameters, request.query_params.dict())
        return _page(answers.PendingPage, pending.messages, asked, answers.of_pending)


class DispatchedMessages(StaffView):
    @operation(
        "list_dispatched_messages",
        "List what was published",
        STAFF + "For as long as it is kept, the newest first. " + PAGED,
        answer=answers.DispatchedPage,
        parameters=query_parameters(selections.DispatchedParameters),
        problems=[400],
    )
    def get(self, request: Request) -> Response:
        asked = validated_query(selections.DispatchedParameters, request.query_params.dict())
        return _page(answers.DispatchedPage, dispatched.messages, asked, answers.of_dispatched)


class WaitingEvents(StaffView):
    @operation(
        "list_waiting_events",
        "List the events that a subscriber couldn't handle yet",
        STAFF + "They are tried again by themselves. What has waited the longest comes first. "
        "`since` and `until` are about when the event was put aside. " + PAGED,
        answer=answers.WaitingPage,
        parameters=query_parameters(selections.WaitingParameters),
        problems=[400],
    )
    def get(self, request: Request) -> Response:
        asked = validated_query(selections.WaitingParameters, request.query_params.dict())
        return _page(answers.WaitingPage, waiting.messages, asked, answers.of_waiting)


class DeadLetters(StaffView):
    @operation(
        "list_dead_letters",
        "List the events that a subscriber couldn't handle",
        STAFF + "The newest failure first. " + PAGED,
        answer=answers.DeadLetterPage,
        parameters=query_parameters(selections.DeadLetterParameters),
        problems=[400],
    )
    def get(self, request: Request) -> Response:
        asked = validated_query(selections.DeadLetterParameters, request.query_params.dict())
        return _page(
            answers.DeadLetterPage, dead_letter_listing.messages, asked, answers.of_dead_letter
        )


class PendingMessage(StaffView):
    @operation(
        "get_pending_message",
        "Get a message that waits",
        STAFF + "By its `id` from the list, or by its event id.",
        answer=answers.PendingDetail,
        problems=[404],
    )
    def get(self, request: Request, id: str) -> Response:
        return _found(answers.PendingDetail, _waiting(id), answers.of_pending)


class DispatchedMessage(StaffView):
    @operation(
        "get_dispatched_message",
        "Get a message that was published",
        STAFF + "While it is kept.",
        answer=answers.DispatchedDetail,
        problems=[404],
    )
    def get(self, request: Request, id: str) -> Response:
        return _found(answers.DispatchedDetail, dispatched.message(id), answers.of_dispatched)


class DeadLetter(StaffView):
    @operation(
        "get_dead_letter",
        "Get a dead letter",
        STAFF + "With the envelope as it lay on the stream, and the traceback.",
        answer=answers.DeadLetterDetail,
        problems=[404],
    )
    def get(self, request: Request, id: str) -> Response:
        found = dead_letter_listing.message(id)
        return _found(answers.DeadLetterDetail, found, answers.of_dead_letter)


def _page(answer: type[BaseModel], read: Any, asked: Any, shown: Any) -> Response:
    try:
        found = read(asked.selection(), limit=asked.limit, cursor=asked.cursor)
    except InvalidCursor as error:
        raise InvalidRequest([{"parameter": "cursor", "detail": str(error)}]) from None
    results = [shown(one) for one in found.messages]
    return _answer(answer, {"results": results, "next": found.next})


def _waiting(key: str) -> Any:
    event_id, _, place = key.partition("/")
    collection, _, aggregate_id = place.partition("/")
    if not place:
        found = pending.messages(Selection(term=event_id), limit=1).messages
        if not found or found[0].event_id != event_id:
            return None
        collection, aggregate_id = found[0].collection, found[0].aggregate_id
    return pending.message(collection, aggregate_id, event_id)


def _found(answer: type[BaseModel], found: Any, shown: Any) -> Response:
    if found is None:
        raise NotFound()
    return _answer(answer, shown(found))


def _answer(answer: type[BaseModel], value: Any) -> Response:
    return Response(answer.model_validate(value).model_dump(mode="json"))
