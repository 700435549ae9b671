"""The admin's pages of dispatched messages."""

from typing import Any

from django.contrib.admin import display
from django.utils.safestring import SafeString

from outbox import dispatched
from outbox.admin.base import MessageAdmin
from outbox.admin.display import moment
from outbox.admin.fields import CONTENT, IDENTITY
from outbox.message_store import REACH, DispatchedMessage, Page


class DispatchedMessageAdmin(MessageAdmin):
    """What was published, for as long as it is kept."""

    list_display = ("type", "topic", "sequence", "aggregate_link", "dispatched", "occurred")
    list_display_links = ("type",)
    fieldsets = (
        (None, {"fields": IDENTITY}),
        ("Delivery", {"fields": ("occurred", "dispatched")}),
        *CONTENT,
    )
    nothing = "Nothing was published in the time for which dispatched messages are kept."
    left_out = (
        f"There are more: this list looks only at the newest {REACH}. Search for an aggregate id "
        "or an event id to find older ones."
    )

    def find(self, **selection: Any) -> Page[DispatchedMessage]:
        return dispatched.messages(**selection)

    def find_one(self, key: str) -> DispatchedMessage | None:
        return dispatched.message(key)

    @display(description="dispatched at")
    def dispatched(self, message: Any) -> SafeString:
        return moment(message.dispatched_at, message.read_at)
