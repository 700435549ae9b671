"""Throttling: how often those who aren't staff may write."""

from threading import Lock
from typing import Any

from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.settings import api_settings
from rest_framework.throttling import UserRateThrottle

_lock = Lock()


class WriteThrottle(UserRateThrottle):
    """Limits each user's requests that write, whatever becomes of them; staff's are not counted.

    The rate is that of `write` in `DEFAULT_THROTTLE_RATES`, such as "60/min"; None limits nothing.
    Counted in Django's default cache: with one in local memory the limit is each process's own,
    and nothing that can be away decides whether a request is taken.
    """

    scope = "write"

    def get_rate(self) -> str | None:
        # Not the class attribute that DRF has, which is read at import.
        rates: dict[str, Any] = api_settings.DEFAULT_THROTTLE_RATES
        rate: str | None = rates.get(self.scope)
        return rate

    def allow_request(self, request: Request, view: Any) -> bool:
        if request.method in SAFE_METHODS or request.user.is_staff:
            return True
        # Reading and writing the count are two steps: threads between them would count as one.
        with _lock:
            return super().allow_request(request, view)
