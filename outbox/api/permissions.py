"""Permissions: closed, unless a setting opens it."""

from typing import Any

from django.conf import settings
from rest_framework.permissions import BasePermission
from rest_framework.request import Request


class IsAuthenticatedUnlessOpened(BasePermission):
    """Lets in whoever is authenticated, and anyone where `ANONYMOUS_ACCESS` names the view's URL.

    `ANONYMOUS_ACCESS` is a list of URL names, with their namespace if they have one.
    """

    def has_permission(self, request: Request, view: Any) -> bool:
        match = request.resolver_match
        opened = getattr(settings, "ANONYMOUS_ACCESS", ())
        return bool(
            (match is not None and match.view_name in opened)
            or (request.user and request.user.is_authenticated)
        )
