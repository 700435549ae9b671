"""Permissions: closed, unless a setting opens it.

`ANONYMOUS_ACCESS` is a list of URL names, with their namespace if they have one.
"""

from typing import Any

from django.conf import settings
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request


def is_opened(request: Request) -> bool:
    """Whether `ANONYMOUS_ACCESS` names the URL of the request."""
    match = request.resolver_match
    return match is not None and match.view_name in getattr(settings, "ANONYMOUS_ACCESS", ())


class IsAuthenticatedUnlessOpened(BasePermission):
    """Lets in whoever is authenticated, and anyone where `ANONYMOUS_ACCESS` names the URL."""

    def has_permission(self, request: Request, view: Any) -> bool:
        return is_opened(request) or bool(request.user and request.user.is_authenticated)


class IsStaffUnlessOpened(BasePermission):
    """Lets in staff, and anyone who only reads where `ANONYMOUS_ACCESS` names the URL."""

    def has_permission(self, request: Request, view: Any) -> bool:
        if request.method in SAFE_METHODS and is_opened(request):
            return True
        return bool(request.user and request.user.is_staff)


class MayOperate(BasePermission):
    """Lets in staff that has the permission which the view names as `needs`; nothing opens it.

    Without the permission, staff is told which methods there are, and may use none of them.
    """

    def has_permission(self, request: Request, view: Any) -> bool:
        if not (request.user and request.user.is_staff):
            return False
        acts = request.method not in SAFE_METHODS and request.method in view.allowed_methods
        return not acts or request.user.has_perm(view.needs)
