"""Error views: problems for what fails before or beside any view of the API."""

import json
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.views import defaults
from django.views.decorators.csrf import csrf_exempt

from outbox.api.problems import MEDIA_TYPE, of_status

ErrorView = Callable[..., HttpResponse]


def error_views(prefix: str) -> tuple[ErrorView, ErrorView, ErrorView]:
    """`handler400, handler404, handler500` of a URLconf: problems below `prefix`, else Django's."""

    def below(request: HttpRequest) -> bool:
        return request.path_info.startswith(prefix)

    def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
        if below(request):
            return _problem(request, 400)
        return defaults.bad_request(request, exception)

    def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
        if below(request):
            return _problem(request, 404)
        return defaults.page_not_found(request, exception)

    def server_error(request: HttpRequest) -> HttpResponse:
        return _problem(request, 500) if below(request) else defaults.server_error(request)

    return bad_request, page_not_found, server_error


@csrf_exempt
def not_found(request: HttpRequest) -> HttpResponse:
    """The view of all routes that don't exist.

    As the last route below a prefix it answers before Django would redirect a POST to the path
    with a slash at its end (and lose the body), and before DEBUG would answer in HTML.
    """
    return _problem(request, 404)


def _problem(request: HttpRequest, status: int) -> HttpResponse:
    problem = of_status(status) | {"instance": request.path}
    return HttpResponse(json.dumps(problem), status=status, content_type=MEDIA_TYPE)
