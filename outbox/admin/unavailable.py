"""The page that says, in plain words, why there is nothing to see."""

import logging
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from outbox.errors import MissingIndex, StoreUnavailable

logger = logging.getLogger(__name__)

View = Callable[..., HttpResponse]


def unless_unavailable(view: View) -> View:
    """Answer 503 with an explanation where MongoDB is away, or an index is missing.

    For methods of a `ModelAdmin`. What went wrong is logged, not shown: it may name hosts.
    """

    @wraps(view)
    def guarded(admin: Any, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            return view(admin, request, *args, **kwargs)
        except (StoreUnavailable, MissingIndex) as error:
            logger.warning("The admin can't read messages: %s", error, extra={"action": "admin"})
            context = {
                **admin.admin_site.each_context(request),
                "opts": admin.opts,
                "title": "Messages can't be shown",
                "missing_index": isinstance(error, MissingIndex),
                "acted": request.method == "POST",
            }
            template = "admin/outbox/unavailable.html"
            return TemplateResponse(request, template, context, status=503)

    return guarded
