"""The admin's pages of pending messages."""

from typing import Any

from django.contrib.admin import display
from django.contrib.admin.utils import quote, unquote
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator

from outbox import dispatched, pending
from outbox.admin.base import MessageAdmin
from outbox.admin.display import distance, moment, preformatted
from outbox.admin.fields import CONTENT, IDENTITY
from outbox.message_store import REACH, Page, PendingMessage

DELIVERY = ("occurred", "due", "state", "attempts", "last_error_text")


class PendingMessageAdmin(MessageAdmin):
    """What waits to be published, and since when; what failed, and why."""

    # Its state first: what doesn't fit on a narrow screen is scrolled to.
    list_display = ("type", "state", "topic", "sequence", "aggregate_link", "due", "occurred")
    list_display_links = ("type",)
    fieldsets = ((None, {"fields": IDENTITY}), ("Delivery", {"fields": DELIVERY}), *CONTENT)
    nothing = "Nothing is pending: whatever was recorded has been published."
    left_out = (
        f"There are more: this list looks only at the {REACH} aggregates of a collection that "
        "have been due the longest. Search for an aggregate id to find the messages of any."
    )

    def find(self, **selection: Any) -> Page[PendingMessage]:
        return pending.messages(**selection)

    def find_one(self, key: str) -> PendingMessage | None:
        event_id, _, place = key.partition("/")
        collection, _, aggregate_id = place.partition("/")
        return pending.message(collection, aggregate_id, event_id)

    def key(self, message: PendingMessage) -> str:
        """Where it lies, so that its page needs no search; the aggregate id may hold anything."""
        return f"{message.event_id}/{message.collection}/{message.aggregate_id}"

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
        return redirect(
            reverse(
                "admin:outbox_dispatchedmessage_change",
                args=(quote(event_id),),
                current_app=self.admin_site.name,
            )
        )

    @display(description="due at")
    def due(self, message: Any) -> SafeString:
        return moment(message.due_at, message.read_at)

    @display(description="state")
    def state(self, message: Any) -> SafeString:
        """Due or waiting; after a failure, how often it was tried and what came of it."""
        due = message.due_at <= message.read_at
        if not message.attempts:
            return format_html("{}", "due" if due else "waiting")
        return format_html(
            '<span class="outbox-failed">{}, {} failed</span> <span class="outbox-error">{}</span>',
            "due again" if due else f"retry {distance(message.due_at, message.read_at)}",
            f"{message.attempts} attempt{'s' if message.attempts > 1 else ''}",
            Truncator(message.last_error).chars(120),
        )

    @display(description="last error")
    def last_error_text(self, message: Any) -> str | SafeString:
        return preformatted(message.last_error) if message.last_error else ""
