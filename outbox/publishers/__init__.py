"""Publishers: the port to the broker, and what stands behind it."""

from functools import cache

from django.utils.module_loading import import_string

from outbox.conf import conf
from outbox.publishers.base import Publisher


def configured() -> Publisher:
    """The publisher that `OUTBOX_PUBLISHER` names; the same one each time."""
    return _publisher(conf.PUBLISHER)


@cache
def _publisher(path: str) -> Publisher:
    made: Publisher = import_string(path)()
    return made
