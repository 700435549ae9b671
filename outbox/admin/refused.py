"""The page that says, in plain words, what somebody may not do, and which permission that needs."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.utils import quote
from django.contrib.auth import get_permission_codename
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse

View = Callable[..., HttpResponse]


class Refused(PermissionDenied):
    """Somebody lacks the permission for the operation of this name."""

    def __init__(self, action: str) -> None:
        super().__init__(action)
        self.action = action


def unless_refused(view: View) -> View:
    """Answer 403 with an explanation, and not Django's bare page, where somebody may not do it.

    For methods of a `ModelAdmin`.
    """

    @wraps(view)
    def guarded(admin: Any, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            return view(admin, request, *args, **kwargs)
        except PermissionDenied as error:
            may_view = admin.has_view_permission(request)
            action = error.action if isinstance(error, Refused) else "" if may_view else "view"
            permission = get_permission_codename(action, admin.opts)
            context = {
                **admin.admin_site.each_context(request),
                "opts": admin.opts,
                "title": "That isn't allowed",
                "action": action,
                "permission": f"{admin.opts.app_label}.{permission}",
                "may_view": may_view,
                "back": _back(admin, request) if may_view else "",
            }
            return TemplateResponse(request, "admin/outbox/refused.html", context, status=403)

    return guarded


def _back(admin: Any, request: HttpRequest) -> str:
    """Where it was asked for: the page of one, or the list as it was narrowed."""
    name = f"admin:{admin.opts.app_label}_{admin.opts.model_name}"
    keys = request.POST.getlist(ACTION_CHECKBOX_NAME)
    if "from_page" in request.POST and keys:
        key = quote(keys[0])
        return reverse(f"{name}_change", args=(key,), current_app=admin.admin_site.name)
    address = reverse(f"{name}_changelist", current_app=admin.admin_site.name)
    return request.get_full_path() if request.path == address else address
