"""The admin's log, as its pages show it: of one message, and of all of a kind."""

from collections.abc import Sequence
from typing import Any

from django.contrib.admin.models import LogEntry
from django.contrib.admin.options import get_content_type_for_model
from django.contrib.admin.views.main import PAGE_VAR
from django.core.paginator import Paginator
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

#: Entries on a page of one message's history, and on the page of all.
PAGE, LATEST = 100, 100


def entries(request: HttpRequest, known_as: Sequence[tuple[type[Any], str]]) -> dict[str, Any]:
    """The context of a history page: what was done under any of these models and keys.

    A message is one object while it is pending and another in the archive; its history is one.
    """
    which = Q()
    for model, key in known_as:
        which |= Q(content_type=get_content_type_for_model(model), object_id=key)
    found = LogEntry.objects.filter(which).select_related("user").order_by("action_time")
    pages = Paginator(found, PAGE)
    page = pages.get_page(request.GET.get(PAGE_VAR, 1))
    return {
        "action_list": page,
        "page_range": pages.get_elided_page_range(page.number),
        "pagination_required": pages.num_pages > 1,
    }


def log_page(admin: Any, request: HttpRequest) -> HttpResponse:
    """The newest entries about a model's objects."""
    found = LogEntry.objects.filter(content_type=get_content_type_for_model(admin.model))
    context = {
        **admin.admin_site.each_context(request),
        "title": f"What was done to {admin.opts.verbose_name_plural}",
        "opts": admin.opts,
        "media": admin.media,
        "latest": LATEST,
        "entries": found.select_related("user", "content_type").order_by("-pk")[:LATEST],
    }
    return TemplateResponse(request, "admin/outbox/log.html", context)
