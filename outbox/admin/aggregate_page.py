"""The page of an aggregate: its fields, and beside them its story with links to each part of it."""

from datetime import datetime
from typing import Any

from django.contrib.admin.utils import quote
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from outbox.admin import document_fields, links
from outbox.admin.display import (
    distance,
    duration,
    failing,
    json_value,
    letter_state,
    moment,
    next_try,
)
from outbox.conf import conf
from outbox.document.showing import Parts
from outbox.story import Event, Other, Step, Story


def page_context(
    admin: Any, request: HttpRequest, one: Any, parts: Parts, told: Story
) -> dict[str, Any]:
    """What the template shows."""
    maker = _Page(admin, request, parts.aggregate_id, one.read_at)
    events = [event for step in told.steps for event in step.events]
    return {
        "version": parts.version,
        "sequences": sorted(parts.sequences.items()),
        "fields": document_fields.rows(parts.fields, one.read_at),
        "stored": json_value({"_id": parts.aggregate_id, **parts.fields}),
        "partition": parts.partition,
        "handled": list(reversed(parts.handled)),
        "steps": [maker.step(step) for step in told.steps],
        "is_whole": told.is_whole,
        "counts": _counts(events),
    }


def _counts(events: list[Event]) -> list[tuple[str, str]]:
    """What is to be done or waited for, in words: (words, class)."""
    waiting = [event for event in events if event.due_at]
    stuck = sum(event.attempts >= conf.STUCK_AFTER for event in waiting)
    dead = sum(one["state"] == "dead" for event in events for one in event.letters)
    failing = sum(bool(one.attempts) for event in events for one in event.waiting)
    counts = [(len(waiting), "pending", "waiting"), (stuck, "stuck", "bad")]
    counts.append((failing, "failing", "bad"))
    counts.append((dead, "dead letter" if dead == 1 else "dead letters", "bad"))
    return [(f"{number} {words}", kind) for number, words, kind in counts if number]


class _Page:
    """Makes the parts of a page for somebody: who may not see a list is shown no links to it."""

    def __init__(self, admin: Any, request: HttpRequest, aggregate_id: str, now: datetime) -> None:
        self._site, self._now = admin.admin_site, now
        self._collection, self._id = admin.repository.collection, aggregate_id
        self._may = request.user.has_perm
        #: By collection, those whose aggregates have pages here that this user may see.
        self._pages = {
            one.repository.collection: one.opts
            for one in self._site._registry.values()
            if hasattr(one, "repository") and one.has_view_permission(request)
        }

    def step(self, step: Step) -> dict[str, Any]:
        """What a command or an event has done: its cause, and the messages of it."""
        conversation = step.events[0].correlation_id if step.events else ""
        return {
            "cause": self._other(step.cause) if step.cause else "",
            "cause_id": step.cause_id,
            "conversation": self._conversation(conversation) if conversation else "",
            "events": [self._event(event) for event in step.events],
        }

    def _event(self, event: Event) -> dict[str, Any]:
        model, key, state = self._where(event)
        when = event.occurred_at
        return {
            "event": event,
            "title": self._link(model, key, event.type),
            "state": state,
            "is_failing": bool(event.due_at and event.attempts),
            "occurred": moment(when, self._now) if when else "",
            "error": event.last_error if self._sees("pendingmessage") else "",
            "discarded": event.discarded
            and {**event.discarded, "at": moment(event.discarded["discarded_at"], self._now)},
            "letters": [
                {
                    **letter,
                    "title": self._link("deadletter", letter["key"], letter["subscriber"]),
                    "fate": letter_state(letter["state"], letter.get("attempts", 0)),
                    "error": letter["error"] if self._sees("deadletter") else "",
                }
                for letter in event.letters
            ],
            "waiting": [
                {
                    "title": self._link("waitingevent", one.key, one.subscriber),
                    "is_failing": bool(one.attempts),
                    "fate": one.fate,
                    "due": "" if one.early else f", {next_try(one.due_at, self._now)}",
                    "error": one.error if self._sees("waitingevent") else "",
                }
                for one in event.waiting
            ],
            "handled": [
                f"{one.subscriber} {_later(when, one.at) if when else ''}".strip()
                for one in event.handled
            ],
            "effects": [self._other(one) for one in event.effects],
        }

    def _where(self, event: Event) -> tuple[str, str, str]:
        """The list that a message is in, its key there, and how it stands, in words."""
        if event.due_at:
            key = f"{event.event_id}/{self._collection}/{self._id}"
            due = f"due {distance(event.due_at, self._now)}"
            if event.attempts:
                due = failing(event.due_at, event.attempts, self._now)
            return "pendingmessage", key, f"pending, {due}"
        if event.dispatched_at:
            after = _later(event.occurred_at or event.dispatched_at, event.dispatched_at)
            return "dispatchedmessage", event.event_id, f"dispatched {after}"
        return "", "", "" if event.discarded else "not kept any more"

    def _other(self, other: Other) -> SafeString:
        """A message of another aggregate, or of this one, with links to both."""
        title = self._link("dispatchedmessage", other.event_id, other.type)
        if (other.collection, other.aggregate_id) == (self._collection, self._id):
            return format_html("{} of its own", title)
        return format_html("{} of {} in {}", title, self._aggregate(other), other.collection)

    def _aggregate(self, other: Other) -> str | SafeString:
        if (opts := self._pages.get(other.collection)) is None:
            return other.aggregate_id
        name = f"admin:{opts.app_label}_{opts.model_name}_change"
        key = quote(other.aggregate_id)
        address = reverse(name, args=(key,), current_app=self._site.name)
        return format_html('<a href="{}">{}</a>', address, other.aggregate_id)

    def _conversation(self, correlation_id: str) -> str | SafeString:
        if not self._sees("dispatchedmessage"):
            return correlation_id
        address = links.search(self._site, "dispatchedmessage", correlation_id)
        return format_html('<a href="{}">{}</a>', address, correlation_id)

    def _link(self, model: str, key: str, text: str) -> str | SafeString:
        if not model or not self._sees(model):
            return text
        return format_html('<a href="{}">{}</a>', links.page(self._site, model, key), text)

    def _sees(self, model: str) -> bool:
        return bool(self._may(f"outbox.view_{model}"))


def _later(since: datetime, until: datetime) -> str:
    """How long after: to the millisecond, below a second."""
    seconds = (until - since).total_seconds()
    return f"{seconds * 1000:.0f} ms later" if 0 <= seconds < 1 else f"{duration(seconds)} later"
