"""The admin's pages of pending messages."""

from collections.abc import Iterable
from typing import Any

from django.contrib.admin import action, display
from django.contrib.admin.utils import unquote
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator

from outbox import conversations, discarded, dispatched, operations, pending
from outbox.admin import links, tombstones
from outbox.admin.base import MessageAdmin
from outbox.admin.display import failing, moment, preformatted
from outbox.admin.fields import DISCARDED, IDENTITY, METADATA, PAYLOAD
from outbox.admin.filters import AgeFilter, PendingStateFilter, PendingTypeFilter, TopicFilter
from outbox.admin.operation import Operation
from outbox.message_store import REACH, Page, PendingMessage, Selection
from outbox.models import DispatchedMessage

RETRY = Operation(
    name="retry",
    title="Retry now",
    explanation=(
        "The relay tries again at once: what is chosen here, and what waits with it in the same "
        "aggregates. It counts as never tried. Do this when what was wrong has been mended."
    ),
    done=("will be tried again at once", "will be tried again at once"),
    missed=("is no longer pending", "are no longer pending"),
    run=operations.retry,
)
DISCARD = Operation(
    name="discard",
    title="Discard",
    explanation=(
        "A discarded message is never published. A tombstone with its number takes its place, so "
        "that no subscriber waits for it. What it says is kept for as long as dispatched messages "
        "are, with your name and reason. This can't be undone."
    ),
    done=(
        "was discarded: a tombstone is published in its place",
        "were discarded: a tombstone is published in the place of each",
    ),
    missed=(
        "is no longer pending, or was discarded before",
        "are no longer pending, or were discarded before",
    ),
    run=operations.discard,
    needs_reason=True,
)


class PendingMessageAdmin(MessageAdmin):
    """What waits to be published, and since when; what failed, and why."""

    # Its state first: what doesn't fit on a narrow screen is scrolled to.
    list_display = ("type", "state", "aggregate_link", "occurred")
    list_display_links = ("type",)
    list_filter = (PendingStateFilter, AgeFilter, TopicFilter, PendingTypeFilter)
    actions = ("retry", "discard")
    operations = (RETRY, DISCARD)
    kind = "pending"
    nothing = "Nothing is pending: whatever was recorded has been published."
    left_out = (
        f"There are more: this list looks only at the {REACH:,} aggregates of a collection that "
        "have been due the longest. Search for an aggregate id to find the messages of any."
    )

    def find(self, selection: Selection, *, skip: int, limit: int) -> Page[PendingMessage]:
        return pending.messages(selection, skip=skip, limit=limit)

    def find_one(self, key: str) -> PendingMessage | None:
        event_id, _, place = key.partition("/")
        collection, _, aggregate_id = place.partition("/")
        return pending.message(collection, aggregate_id, event_id)

    def find_named(self, keys: Iterable[str]) -> list[PendingMessage]:
        return pending.named(keys)

    def complete(self, message: Any) -> None:
        message.chain = conversations.chain(message.stored)
        is_tombstone = message.tombstone is not None
        message.discarded = discarded.message(message.event_id) if is_tombstone else None

    def present(self, messages: list[Any]) -> list[Any]:
        """The messages as objects, which know whether they are tombstones (`tombstone`).

        Of those that have their metadata, that says so; of what a list has, it is asked for.
        """
        objects = super().present(messages)
        found = tombstones.among(one for one in messages if not one.metadata)
        for one in objects:
            one.tombstone = found.get(one.event_id, {} if one.metadata.get("discarded") else None)
        return objects

    def can_be(self, operation: Operation, message: Any) -> bool:
        return operation is not DISCARD or message.tombstone is None

    def in_words(self, message: Any) -> SafeString:
        words = super().in_words(message)
        return words if message.tombstone is None else format_html("{} discarded already", words)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        is_tombstone = obj is not None and obj.tombstone is not None
        return (
            (None, {"fields": IDENTITY}),
            ("Attempts", {"fields": ("fate", "due", "last_error_text", "occurred")}),
            *([DISCARDED] if is_tombstone else []),
            PAYLOAD,
            ("Conversation", {"fields": ("correlation_id", "chain")}),
            METADATA,
        )

    def logged_as(self, message: Any) -> list[tuple[type[Any], str]]:
        return [*super().logged_as(message), (DispatchedMessage, message.event_id)]

    @action(description="Retry now", permissions=["retry"])
    def retry(self, request: HttpRequest, listing: Any) -> HttpResponse:
        return self.operate(request, listing, RETRY)

    @action(description="Discard", permissions=["discard"])
    def discard(self, request: HttpRequest, listing: Any) -> HttpResponse:
        return self.operate(request, listing, DISCARD)

    def has_retry_permission(self, request: HttpRequest) -> bool:
        return self.may(request, "retry")

    def has_discard_permission(self, request: HttpRequest) -> bool:
        return self.may(request, "discard")

    def _get_obj_does_not_exist_redirect(
        self, request: HttpRequest, opts: Any, object_id: str
    ) -> HttpResponse:
        # Most messages are pending for less time than it takes to click on them.
        event_id = unquote(object_id).partition("/")[0]
        if dispatched.message(event_id) is None:
            return super()._get_obj_does_not_exist_redirect(  # type: ignore[misc,no-any-return]
                request, opts, object_id
            )
        self.message_user(request, "This message has been dispatched in the meantime.")
        return redirect(links.page(self.admin_site, "dispatchedmessage", event_id))

    @display(description="next try")
    def due(self, message: Any) -> SafeString:
        return moment(message.due_at, message.read_at)

    @display(description="state")
    def state(self, message: Any) -> SafeString:
        """What `fate` says, who has discarded it and why, and what went wrong."""
        gone = message.tombstone
        by = f"by {gone['discarded_by']}: {gone['reason']}" if gone else ""
        error = message.last_error if message.attempts else ""
        return format_html(
            '{} <span class="outbox-error">{}</span> <span class="outbox-error">{}</span>',
            self.fate(message),
            Truncator(by).chars(120),
            Truncator(error).chars(120),
        )

    @display(description="state")
    def fate(self, message: Any) -> SafeString | str:
        """Due or waiting; after a failure, how often it was tried, and when it will be again.

        Of a tombstone, that it is one.
        """
        is_tombstone = message.tombstone is not None
        if message.attempts:
            words = failing(message.due_at, message.attempts, message.read_at)
            words = f"discarded, its tombstone: {words}" if is_tombstone else words
            return format_html('<span class="outbox-failed">{}</span>', words)
        words = "due" if message.due_at <= message.read_at else "waiting"
        return f"discarded, its tombstone is {words}" if is_tombstone else words

    @display(description="last error")
    def last_error_text(self, message: Any) -> str | SafeString:
        return preformatted(message.last_error) if message.last_error else ""
