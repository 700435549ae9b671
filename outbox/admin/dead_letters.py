"""The admin's pages of dead letters."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from django.contrib.admin import action, display
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator

from outbox import conversations, dead_letter_listing, dead_letters, operations
from outbox.admin import links
from outbox.admin.base import MessageAdmin
from outbox.admin.display import described, folded, json_text, letter_state, moment, preformatted
from outbox.admin.fields import PAYLOAD
from outbox.admin.filters import (
    AgeFilter,
    DeadLetterStateFilter,
    ErrorFilter,
    SubscriberFilter,
    TopicFilter,
    TypeFilter,
)
from outbox.admin.operation import Operation
from outbox.dead_letters import DEAD, DISCARDED, REPLAYING, DeadLetter
from outbox.message_store import REACH, Page, Selection

REPLAY = Operation(
    name="replay",
    title="Replay",
    explanation=(
        "The subscriber that gave up, and nobody else, tries again: at once, and as often as with "
        "a new event. An event that it has handled meanwhile has no effect again. Do this when "
        "what was wrong has been mended."
    ),
    done=(
        "is being replayed: see “being replayed” and “replayed” for what comes of it",
        "are being replayed: see “being replayed” and “replayed” for what comes of them",
    ),
    missed=(
        "couldn't be replayed: it was dealt with already, or isn't to be read as an event",
        "couldn't be replayed: they were dealt with already, or aren't to be read as events",
    ),
    run=operations.replay_dead_letters,
)
DISCARD = Operation(
    name="discard",
    title="Discard",
    explanation=(
        "The subscriber will never handle a discarded event. The dead letter is kept for a while, "
        "with your name and reason. This can't be undone."
    ),
    done=("was discarded", "were discarded"),
    missed=("had been dealt with meanwhile", "had been dealt with meanwhile"),
    run=operations.discard_dead_letters,
    needs_reason=True,
)

IDENTITY = (("kind_of", "subscriber"), "event", "aggregate", ("topic", "sequence"))
UNREADABLE = (("kind_of", "subscriber"), "event", "topic")
FAILURE = ("fate", "error_text", "traceback_text", "first_failed", "failed")


class DeadLetterAdmin(MessageAdmin):
    """What subscribers couldn't handle, and why."""

    list_display = ("kind_of", "subscriber", "failure", "aggregate_link", "failed")
    list_display_links = ("kind_of",)
    list_filter = (
        DeadLetterStateFilter,
        SubscriberFilter,
        ErrorFilter,
        TypeFilter,
        TopicFilter,
        AgeFilter,
    )
    actions = ("replay", "discard")
    operations = (REPLAY, DISCARD)
    kind = "dead_letters"
    nothing = "There are no dead letters: no subscriber has given up on an event."
    left_out = (
        f"There are more: this list looks only at the newest {REACH:,}. Search for an aggregate id "
        "or an event id, or choose a subscriber, to find older ones."
    )

    def find(self, selection: Selection, *, skip: int, limit: int) -> Page[DeadLetter]:
        return dead_letters.messages(selection, skip=skip, limit=limit)

    def find_one(self, key: str) -> DeadLetter | None:
        return dead_letters.message(key)

    def find_named(self, keys: Iterable[str]) -> list[DeadLetter]:
        return dead_letter_listing.named(keys)

    def complete(self, message: Any) -> None:
        message.chain = conversations.chain(message.stored)

    def described(self, selection: Selection) -> str:
        """What a selection is of, in words; without a state, it is of the dead ones."""
        if selection == Selection():
            return "all that are dead"
        return described(replace(selection, state=selection.state or DEAD))

    def can_be(self, operation: Operation, message: Any) -> bool:
        return message.state in (DEAD, REPLAYING)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        is_closed = obj is not None and obj.state != DEAD
        # What couldn't be read has no more than a place.
        is_event = obj is None or bool(obj.type)
        conversation = ("Conversation", {"fields": ("correlation_id", "chain")})
        return (
            (None, {"fields": IDENTITY if is_event else UNREADABLE}),
            ("Failure", {"fields": FAILURE}),
            *([("What was done", {"fields": ("by", "closed", "why")})] if is_closed else []),
            PAYLOAD,
            *([conversation] if is_event else []),
            ("As it came", {"fields": ("stream", "text_"), "classes": ("collapse",)}),
        )

    @action(description="Replay", permissions=["replay"])
    def replay(self, request: HttpRequest, listing: Any) -> HttpResponse:
        return self.operate(request, listing, REPLAY)

    @action(description="Discard", permissions=["discard"])
    def discard(self, request: HttpRequest, listing: Any) -> HttpResponse:
        return self.operate(request, listing, DISCARD)

    def has_replay_permission(self, request: HttpRequest) -> bool:
        return self.may(request, "replay")

    def has_discard_permission(self, request: HttpRequest) -> bool:
        return self.may(request, "discard")

    @display(description="type")
    def kind_of(self, letter: Any) -> str:
        """The type; what couldn't be read as an event has none."""
        return letter.type or "unreadable"

    @display(description="event id")
    def event(self, letter: Any) -> SafeString | str:
        """The id, with links to the event and to its other dead letters."""
        if not letter.type:
            return str(letter.event_id)
        return links.everywhere(self.admin_site, letter.event_id, "this event", links.BY_PLACE)

    @display(description="state")
    def fate(self, letter: Any) -> SafeString | str:
        """What has become of it, and after how many attempts."""
        words = letter_state(letter.state, letter.attempts)
        if letter.state != DEAD:
            return words
        return format_html('<span class="outbox-failed">{}</span>', words)

    def in_words(self, letter: Any) -> SafeString:
        place = f"number {letter.sequence} of {letter.aggregate_id} in" if letter.type else "in"
        return format_html(
            '{} for {}, {} {}, failed {} <span class="outbox-links">{}</span>',
            self.kind_of(letter),
            letter.subscriber,
            place,
            letter.topic,
            self.failed(letter),
            letter.event_id,
        )

    @display(description="error")
    def failure(self, letter: Any) -> SafeString:
        return format_html(
            '<span class="outbox-failed">{}</span> <span class="outbox-error">{}</span>',
            letter.error_type,
            Truncator(letter.error.removeprefix(f"{letter.error_type}: ")).chars(120),
        )

    @display(description="error")
    def error_text(self, letter: Any) -> SafeString:
        return preformatted(letter.error)

    @display(description="traceback")
    def traceback_text(self, letter: Any) -> SafeString | str:
        return folded("traceback", letter.traceback) if letter.traceback else ""

    @display(description="first failure")
    def first_failed(self, letter: Any) -> SafeString:
        return moment(letter.first_failed_at, letter.read_at)

    @display(description="last failure")
    def failed(self, letter: Any) -> SafeString:
        return moment(letter.failed_at, letter.read_at)

    @display(description="at")
    def closed(self, letter: Any) -> SafeString | str:
        if letter.closed_at is None:
            return "not yet handled" if letter.state == REPLAYING else ""
        return moment(letter.closed_at, letter.read_at)

    @display(description="by")
    def by(self, letter: Any) -> str:
        return letter.closed_by or "not known"

    @display(description="reason")
    def why(self, letter: Any) -> str:
        return letter.reason or ("" if letter.state == DISCARDED else "none given")

    @display(description="payload")
    def payload_text(self, letter: Any) -> SafeString:
        return preformatted(json_text(letter.stored.payload))

    @display(description="the whole envelope")
    def text_(self, letter: Any) -> SafeString:
        return preformatted(json_text(letter.text))
