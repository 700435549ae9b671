"""The base of the operators' views: the same answers in any project, whatever REST framework's
settings say there.
"""

from collections.abc import Callable
from typing import Any

from rest_framework.renderers import JSONRenderer
from rest_framework.views import APIView

from outbox.api.parsers import BoundedJSONParser
from outbox.api.problems import exception_handler


class OutboxView(APIView):
    """JSON in and out, and every error a problem."""

    parser_classes = (BoundedJSONParser,)
    renderer_classes = (JSONRenderer,)

    def get_exception_handler(self) -> Callable[..., Any]:
        return exception_handler
