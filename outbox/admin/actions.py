"""Actions: what operators do to messages, each after a page that says what will happen.

An action comes twice: from a list or a message's page, to be asked whether it is meant; and from
that page, with an id that makes it safe to click twice. It is done by `outbox.operations`, told in
plain words, and written to the admin's log.
"""

import logging
import uuid
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.utils import model_ngettext, quote
from django.core.exceptions import BadRequest
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.safestring import SafeString

from outbox import admin_log, operations
from outbox.admin.change_list import Listing
from outbox.admin.operation import Operation, already, broken_off
from outbox.errors import AlreadyDone, BrokerUnavailable, OutboxError, PublishError
from outbox.operations import Done

logger = logging.getLogger(__name__)

TEMPLATE = "admin/outbox/confirmation.html"


class Confirmation(forms.Form):
    """What comes with a "yes"; `once` is the id of this one time."""

    once = forms.UUIDField(widget=forms.HiddenInput)
    reason = forms.CharField(
        max_length=500,
        widget=forms.Textarea({"rows": 3, "class": "vLargeTextField"}),
        error_messages={"required": "Give a reason: somebody will want to know."},
    )

    def __init__(self, operation: Operation, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial["once"] = uuid.uuid4()
        reason = self.fields["reason"]
        reason.required = operation.needs_reason
        reason.label = "Reason" if operation.needs_reason else "Reason (not required)"
        reason.help_text = "Kept in the log with your name."


def ask_or_do(
    admin: Any, request: HttpRequest, listing: Listing, operation: Operation
) -> HttpResponse:
    """Show the page that asks, or do what was said "yes" to there.

    For the actions of a `ModelAdmin`; `listing` is what they are about.
    """
    back = _back(admin, request)
    if not listing.wanted:
        admin.message_user(request, "Nothing matches, so nothing was done.", messages.WARNING)
        return redirect(back)
    form = Confirmation(operation, request.POST if "once" in request.POST else None)
    if form.is_bound and "once" in form.errors:
        raise BadRequest("This isn't a form that the admin has made.")
    if form.is_valid():
        _do(admin, request, listing, operation, **form.cleaned_data)
        return redirect(back)
    context = {
        **admin.admin_site.each_context(request),
        **_about(admin, listing),
        "title": operation.title,
        "opts": admin.opts,
        "media": admin.media,
        "operation": operation,
        "form": form,
        "back": back,
        "most": f"{operations.MOST:,}",
        # To be sent again. With all that match, Django wants at least one to be chosen.
        "posted": [
            (name, value)
            for name in (ACTION_CHECKBOX_NAME, "select_across", "from_page")
            for value in request.POST.getlist(name)
        ],
    }
    return TemplateResponse(request, TEMPLATE, context)


def _about(admin: Any, listing: Listing) -> dict[str, Any]:
    """What it is about: how many, whether that is all of them, and which, or a few of them."""
    preview = admin.preview(listing.wanted)
    if listing.keys is not None:
        total, is_all = len(listing.keys), True
    elif preview is not None:
        total, is_all = preview.total, not preview.left
    else:
        total, is_all = operations.count(admin.kind, listing.wanted)
    return {
        "total": total,
        "number": _number(total, is_all, is_named=listing.keys is not None),
        "is_all": is_all,
        "noun": model_ngettext(admin.opts, total),
        "selected": admin.described(listing.selection) if listing.selection else "",
        "keys": listing.keys,
        "preview": preview,
        "in_archive": preview and f"{preview.total:,}{' or more' if preview.left else ''}",
        "rows": _rows(admin, listing, preview),
    }


def _number(total: int, is_all: bool, *, is_named: bool) -> str:
    """How many, in words: `5`, `4,091 or more`, `the first 5,000`."""
    if is_all or is_named:
        return f"{total:,}"
    return f"{total:,} or more" if total < operations.MOST else f"the first {total:,}"


def _rows(admin: Any, listing: Listing, preview: Any) -> list[str | SafeString]:
    """Each that is named, or the few that a preview has, in words."""
    if preview is not None:
        return [admin.in_words(one) for one in admin.present(preview.samples)]
    keys = listing.keys or ()
    found = {one.pk: one for one in admin.present(admin.find_named(keys))} if keys else {}
    return [
        admin.in_words(found[key]) if key in found else f"{key}, which isn't there any more"
        for key in keys
    ]


def _do(
    admin: Any,
    request: HttpRequest,
    listing: Listing,
    operation: Operation,
    *,
    once: uuid.UUID,
    reason: str,
) -> None:
    options = {"reason": reason} if operation.needs_reason else {}
    by = request.user.get_username()
    try:
        done = operation.run(listing.wanted, by=by, once=str(once), **options)
    except AlreadyDone as error:
        admin.message_user(request, already(error), messages.WARNING)
        return
    except OutboxError as error:
        _log(admin, request, listing, operation, listing.keys, f"broken off. {reason}")
        if not isinstance(error, BrokerUnavailable | PublishError):
            raise
        # What is wrong with a broker that is away names hosts.
        logger.warning("%s was broken off: %s", operation.title, error, extra={"action": "admin"})
        admin.message_user(request, broken_off(error), messages.ERROR)
        return
    # Dying here: it is done, and noted in `outbox_operations` and the log, but not in the admin's.
    if done.count:
        _log_done(admin, request, listing, operation, done, reason)
    level = messages.SUCCESS if done.count and not done.missed else messages.WARNING
    admin.message_user(request, operation.told(done, admin.opts), level)


def _log_done(
    admin: Any,
    request: HttpRequest,
    listing: Listing,
    operation: Operation,
    done: Done,
    reason: str,
) -> None:
    if listing.keys is None:
        _log(admin, request, listing, operation, None, f"{done.count:,}. {reason}")
    else:
        acted = set(done.ids)
        keys = tuple(key for key in listing.keys if key in acted)
        _log(admin, request, listing, operation, keys, reason)


def _log(
    admin: Any,
    request: HttpRequest,
    listing: Listing,
    operation: Operation,
    keys: tuple[str, ...] | None,
    text: str,
) -> None:
    """One entry for each key; or one for all that matched, with what they matched."""
    if keys is None and listing.selection:
        text = f"{admin.described(listing.selection)}: {text}"
    admin_log.record(request.user, operation.title, admin.model, keys or (), text.strip())


def _back(admin: Any, request: HttpRequest) -> str:
    """Where it was asked for: the page of the one message, or the list as it was narrowed."""
    keys = request.POST.getlist(ACTION_CHECKBOX_NAME)
    if "from_page" not in request.POST or not keys:
        return request.get_full_path()
    name = f"admin:{admin.opts.app_label}_{admin.opts.model_name}_change"
    return reverse(name, args=(quote(keys[0]),), current_app=admin.admin_site.name)
