"""The admin's pages of waiting events: what subscribers couldn't handle yet, to look at."""

from typing import Any

from django.contrib import messages
from django.contrib.admin import display
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator

from outbox import conversations, dispatched, waiting
from outbox.admin import links
from outbox.admin.base import MessageAdmin
from outbox.admin.display import json_text, moment, next_try, preformatted
from outbox.admin.fields import PAYLOAD
from outbox.admin.filters import SubscriberFilter, TopicFilter, TypeFilter, WaitingStateFilter
from outbox.message_store import REACH, Page, Selection
from outbox.models import DeadLetter
from outbox.waiting import WaitingEvent

IDENTITY = (("type_", "subscriber"), "event", "aggregate", ("topic", "sequence"))


class WaitingEventAdmin(MessageAdmin):
    """What subscribers have put aside: failed events before their next attempt, and those behind.

    There is nothing to be done to them: they are tried again by themselves.
    """

    list_display = ("type_", "subscriber", "state", "aggregate_link", "waits_since")
    list_display_links = ("type_",)
    list_filter = (WaitingStateFilter, SubscriberFilter, TypeFilter, TopicFilter)
    search_fields = ("aggregate_id", "event_id")
    search_help_text = "A whole aggregate id or event id, exactly as it is written."
    change_list_template = "admin/change_list.html"
    actions = ()
    operations = ()
    nothing = "No event waits for a subscriber: whatever came has been handled or given up."
    left_out = (
        f"There are more: this list looks only at the {REACH:,} that have waited the longest. "
        "Search for an aggregate id or an event id, or choose a subscriber, to find others."
    )

    def find(self, selection: Selection, *, skip: int, limit: int) -> Page[WaitingEvent]:
        return waiting.messages(selection, skip=skip, limit=limit)

    def find_one(self, key: str) -> WaitingEvent | None:
        return waiting.message(key)

    def complete(self, message: Any) -> None:
        message.chain = conversations.chain(message.stored)
        # The archive knows where the aggregate is, whose page tells the whole story.
        published = dispatched.message(message.event_id)
        message.collection = published.collection if published else ""

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        is_replayed = obj is not None and bool(obj.stored.replays)
        attempts = ("fate", "error_text", "next_try", "waits_since")
        return (
            (None, {"fields": IDENTITY}),
            ("Attempts", {"fields": (*attempts, "letter") if is_replayed else attempts}),
            PAYLOAD,
            ("Conversation", {"fields": ("correlation_id", "chain")}),
            ("As it came", {"fields": ("stream", "text_"), "classes": ("collapse",)}),
        )

    def logged_as(self, message: Any) -> list[tuple[type[Any], str]]:
        letter = message.stored.replays
        return [*super().logged_as(message), *([(DeadLetter, letter)] if letter else [])]

    def _get_obj_does_not_exist_redirect(
        self, request: HttpRequest, opts: Any, object_id: str
    ) -> HttpResponse:
        self.message_user(
            request,
            "This event doesn't wait any more: it has been handled, or is a dead letter now.",
            messages.WARNING,
        )
        name = "admin:outbox_waitingevent_changelist"
        return redirect(reverse(name, current_app=self.admin_site.name))

    @display(description="type")
    def type_(self, event: Any) -> str:
        # One that an earlier version has put aside says it only in its envelope.
        return event.type or "event"

    @display(description="event id")
    def event(self, event: Any) -> SafeString:
        """The id, with links to the event and to its dead letters."""
        return links.everywhere(self.admin_site, event.event_id, "this event", links.BY_PLACE)

    @display(description="state")
    def state(self, event: Any) -> SafeString:
        """What `fate` says, when it is tried again, and what went wrong."""
        error = Truncator(event.stored.error).chars(120)
        return format_html(
            '{} <span class="outbox-distance">{}</span> <span class="outbox-error">{}</span>',
            self.fate(event),
            "" if event.stored.early else next_try(event.due_at, event.read_at),
            error,
        )

    @display(description="state")
    def fate(self, event: Any) -> SafeString | str:
        if not event.attempts:
            return str(event.stored.fate)
        return format_html('<span class="outbox-failed">{}</span>', event.stored.fate)

    @display(description="last error")
    def error_text(self, event: Any) -> SafeString | str:
        return preformatted(event.stored.error) if event.stored.error else ""

    @display(description="next try")
    def next_try(self, event: Any) -> SafeString | str:
        if event.stored.early:
            return "when it is its turn"
        return moment(event.due_at, event.read_at)

    @display(description="waits since")
    def waits_since(self, event: Any) -> SafeString:
        return moment(event.since, event.read_at)

    @display(description="replays")
    def letter(self, event: Any) -> SafeString:
        """The dead letter that it was."""
        key = event.stored.replays
        address = links.page(self.admin_site, "deadletter", key)
        return format_html('<a href="{}">dead letter {}</a>', address, event)

    @display(description="payload")
    def payload_text(self, event: Any) -> SafeString:
        return preformatted(json_text(event.stored.payload))

    @display(description="the whole envelope")
    def text_(self, event: Any) -> SafeString:
        return preformatted(json_text(event.text))
