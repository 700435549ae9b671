"""Links from a message to others: of its aggregate, its conversation, and its subscribers."""

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlencode

from django.contrib.admin.utils import quote
from django.contrib.admin.views.main import SEARCH_VAR
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from outbox.admin.display import STATES
from outbox.message_store import PendingMessage

LISTS = {
    "pendingmessage": "pending",
    "dispatchedmessage": "dispatched",
    "deadletter": "dead letters",
}
#: The same with the one that knows aggregate and event ids only.
BY_PLACE = {**LISTS, "waitingevent": "waiting"}


def search(site: Any, model: str, term: str, **parameters: str) -> str:
    """The address of a list, searched for a term."""
    address = reverse(f"admin:outbox_{model}_changelist", current_app=site.name)
    return f"{address}?{urlencode({SEARCH_VAR: term, **parameters})}"


def page(site: Any, model: str, key: str) -> str:
    """The address of an object's page."""
    return reverse(f"admin:outbox_{model}_change", args=(quote(key),), current_app=site.name)


def aggregate_page(site: Any, collection: str, aggregate_id: str) -> str | None:
    """The address of an aggregate's own page; None if no app has registered one for it."""
    for model, shown in site._registry.items():
        repository = getattr(shown, "repository", None)
        if repository is not None and repository.collection == collection:
            name = f"admin:{model._meta.app_label}_{model._meta.model_name}_change"
            return reverse(name, args=(quote(aggregate_id),), current_app=site.name)
    return None


def everywhere(site: Any, term: str, label: str, lists: Mapping[str, str] = LISTS) -> SafeString:
    """A term, and links to what each list has of it; nothing for no term."""
    if not term:
        return SafeString("")
    found = format_html_join(
        ", ", '<a href="{}">{}</a>', ((search(site, model, term), lists[model]) for model in lists)
    )
    return format_html('{} <span class="outbox-links">({}: {})</span>', term, label, found)


def message(site: Any, stored: Any) -> SafeString:
    """A link to a message where it is now, and what it is."""
    if isinstance(stored, PendingMessage):
        address, where = page(site, "pendingmessage", stored.key), ", pending"
    else:
        address, where = page(site, "dispatchedmessage", stored.event_id), ""
    return format_html(
        '<a href="{}">{}</a> <span class="outbox-links">number {} of {} in {}{}</span>',
        address,
        stored.type,
        stored.sequence,
        stored.aggregate_id,
        stored.topic,
        where,
    )


def chain(site: Any, this: Any, found: Any) -> SafeString:
    """The messages that led to this one, the first of them first, and those that it caused."""
    first = next(iter(found.causes), this)
    cause = first.metadata.get("causationId", "")
    rows = [format_html("command or call <code>{}</code>", cause)] if cause else []
    rows += [message(site, one) for one in found.causes]
    rows.append(format_html("<strong>{}, this one</strong>", this.type))
    nested = SafeString("")
    if found.effects:
        nested = _list(message(site, one) for one in found.effects)
    for row in reversed(rows):
        nested = format_html("<ul><li>{}{}</li></ul>", row, nested)
    return format_html('<div class="outbox-chain">{}</div>', nested)


def letters(site: Any, found: Iterable[Any]) -> SafeString | str:
    """The dead letters of an event: of which subscriber, and what has become of them."""
    rows = [
        format_html(
            '<a href="{}">{}</a> <span class="outbox-links">{}</span>',
            page(site, "deadletter", one.key),
            one.subscriber,
            STATES.get(one.state, one.state),
        )
        for one in found
    ]
    return _list(rows) if rows else "None: no subscriber has given up on it."


def _list(rows: Iterable[SafeString]) -> SafeString:
    return format_html("<ul>{}</ul>", format_html_join("", "<li>{}</li>", ((one,) for one in rows)))
