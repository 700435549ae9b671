"""Views for machines: what probes and Prometheus ask for. Plain Django, without REST framework.

The health views are anybody's, and say no more than what is well and what isn't; the metrics are
staff's (by session, or by a token of REST framework's), or anybody's where `ANONYMOUS_ACCESS` names
them.
"""

from typing import Any

from django.apps import apps
from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from outbox import health

#: Keeps the tokens that Prometheus can send, where it is installed.
TOKENS = "rest_framework.authtoken"


@require_safe
@never_cache
def live(request: HttpRequest) -> HttpResponse:
    """Whether this process answers: 200. Asks no server, so that none's outage restarts it."""
    return JsonResponse({"status": "up"})


@require_safe
@never_cache
def ready(request: HttpRequest) -> HttpResponse:
    """Whether MongoDB and Redis answer: 200 or 503, and which, within two seconds.

    `?exclude=broker` tells of the broker all the same, but is ready without it: commands are
    stored while it is away.
    """
    answers = health.servers()
    is_ready = all(answers[name] for name in answers.keys() - request.GET.getlist("exclude"))
    states = {name: _up(is_up) for name, is_up in answers.items()}
    return JsonResponse({"status": _up(is_ready), **states}, status=200 if is_ready else 503)


@require_safe
@never_cache
def outbox(request: HttpRequest) -> HttpResponse:
    """How the outbox does: 200 if it is well or there is a warning, 503 if it is bad.

    Not a readiness probe: that would take every web server out of service over a dead letter.
    """
    level, codes = health.condition()
    status = 503 if level == "bad" else 200
    return JsonResponse({"status": level, "problems": codes}, status=status)


@never_cache
def metrics(request: HttpRequest) -> HttpResponse:
    """What Prometheus scrapes; 401 to who isn't known, 403 to who isn't staff."""
    if not _is_opened(request):
        user = _user(request)
        if user is None:
            return HttpResponse(status=401, headers={"WWW-Authenticate": "Token"})
        if not user.is_staff:
            return HttpResponse(status=403)
    return _scraped(request)


@require_safe
def _scraped(request: HttpRequest) -> HttpResponse:
    from outbox.metrics import exposition  # prometheus-client is an extra

    content, content_type = exposition(request.headers.get("Accept", ""))
    return HttpResponse(content, content_type=content_type)


def _up(is_up: bool) -> str:
    return "up" if is_up else "down"


def _is_opened(request: HttpRequest) -> bool:
    match = request.resolver_match
    return match is not None and match.view_name in getattr(settings, "ANONYMOUS_ACCESS", ())


def _user(request: HttpRequest) -> Any:
    """The active user whose session, or whose token, it is; or None."""
    user: Any = getattr(request, "user", None)
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "token" and apps.is_installed(TOKENS):
        tokens = apps.get_model("authtoken", "Token").objects.select_related("user")
        token: Any = tokens.filter(key=key.strip()).first()
        user = token and token.user
    return user if user and user.is_active else None
