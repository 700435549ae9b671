"""The admin's pages of dispatched messages."""

from typing import Any

from django.contrib.admin import action, display
from django.http import HttpRequest, HttpResponse
from django.utils.safestring import SafeString

from outbox import conversations, dead_letters, discarded, dispatched, operations
from outbox.admin.base import MessageAdmin
from outbox.admin.display import moment
from outbox.admin.fields import DISCARDED, IDENTITY, METADATA, PAYLOAD
from outbox.admin.filters import AgeFilter, TopicFilter, TypeFilter
from outbox.admin.operation import Operation
from outbox.message_store import REACH, DispatchedMessage, Page, Selection
from outbox.models import PendingMessage

REPLAY = Operation(
    name="replay",
    title="Replay",
    explanation=(
        "A replayed message is published again to its own topic as it was, with the same id and "
        "number. A subscriber that has handled it takes it for a repeat and does nothing; one that "
        "never got it handles it now."
    ),
    done=("was published again", "were published again"),
    missed=("is no longer kept", "are no longer kept"),
    run=operations.replay,
    rest=(
        "There are more than are replayed at once: narrow the list by filters, or use "
        "`manage.py outbox_replay`."
    ),
)


class DispatchedMessageAdmin(MessageAdmin):
    """What was published, for as long as it is kept."""

    list_display = ("type", "aggregate_link", "dispatched", "occurred")
    list_display_links = ("type",)
    list_filter = (AgeFilter, TopicFilter, TypeFilter)
    actions = ("replay",)
    operations = (REPLAY,)
    kind = "dispatched"
    nothing = "Nothing was published in the time for which dispatched messages are kept."
    left_out = (
        f"There are more: this list looks only at the newest {REACH:,}. Search for an aggregate id "
        "or an event id to find older ones."
    )

    def find(self, selection: Selection, *, skip: int, limit: int) -> Page[DispatchedMessage]:
        return dispatched.messages(selection, skip=skip, limit=limit)

    def find_one(self, key: str) -> DispatchedMessage | None:
        return dispatched.message(key)

    def key(self, message: Any) -> str:
        return str(message.event_id)

    def complete(self, message: Any) -> None:
        message.chain = conversations.chain(message.stored)
        message.letters = dead_letters.of_event(message.event_id)
        is_tombstone = message.metadata.get("discarded")
        message.discarded = discarded.message(message.event_id) if is_tombstone else None

    def logged_as(self, message: Any) -> list[tuple[type[Any], str]]:
        while_pending = f"{message.event_id}/{message.collection}/{message.aggregate_id}"
        return [*super().logged_as(message), (PendingMessage, while_pending)]

    def preview(self, what: Any) -> Any:
        return operations.preview_replay(what)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        is_tombstone = obj is not None and obj.metadata.get("discarded")
        return (
            (None, {"fields": IDENTITY}),
            ("Delivery", {"fields": ("occurred", "dispatched", "letters")}),
            *([DISCARDED] if is_tombstone else []),
            PAYLOAD,
            ("Conversation", {"fields": ("correlation_id", "chain")}),
            METADATA,
        )

    @action(description="Replay", permissions=["replay"])
    def replay(self, request: HttpRequest, listing: Any) -> HttpResponse:
        return self.operate(request, listing, REPLAY)

    def has_replay_permission(self, request: HttpRequest) -> bool:
        return self.may(request, "replay")

    @display(description="dispatched at")
    def dispatched(self, message: Any) -> SafeString:
        return moment(message.dispatched_at, message.read_at)
