"""System checks: a wrong setting is reported at `manage.py check`, not at three in the morning.

outbox.E001  a setting has a value of the wrong type
outbox.E002  a setting has a value that can't work
outbox.E003  a dotted path can't be imported
outbox.W001  a setting that the outbox doesn't know
"""

from collections.abc import Iterator
from datetime import timedelta
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Error, Warning
from django.utils.module_loading import import_string

from outbox.conf import Settings, conf

DOTTED_PATHS = ("PUBLISHER", "ENVELOPE", "WAKE")
MAY_BE_ZERO = ("BACKOFF", "BACKOFF_MAX", "HANDLED", "ANSWERS", "WAKE_PAUSE")


def check_settings(**kwargs: Any) -> list[CheckMessage]:
    """Check every `OUTBOX_*` setting: known, of its type, and of use."""
    types = get_type_hints(Settings)
    messages: list[CheckMessage] = list(_unknown(types))
    for name, expected in types.items():
        value = getattr(conf, name)
        if not _is(value, expected):
            text = f"OUTBOX_{name} is {value!r}, which is not {_words(expected)}."
            messages.append(Error(text, id="outbox.E001"))
        elif _too_small(name, value):
            text = f"OUTBOX_{name} is {value!r}, which is too small."
            messages.append(Error(text, id="outbox.E002"))
        elif name in DOTTED_PATHS and value is not None:
            messages.extend(_importable(name, value))
    return messages


def _too_small(name: str, value: Any) -> bool:
    if isinstance(value, timedelta):
        return value < timedelta(seconds=1)
    if isinstance(value, (int, float)):
        # Written so that `nan` is too small as well.
        return not value >= 0 or (value == 0 and name not in MAY_BE_ZERO)
    return False


def _unknown(known: dict[str, Any]) -> Iterator[CheckMessage]:
    for setting in dir(django_settings):
        if setting.startswith("OUTBOX_") and setting.removeprefix("OUTBOX_") not in known:
            yield Warning(
                f"{setting} is not a setting of the outbox, and has no effect.",
                hint="Known are " + ", ".join(f"OUTBOX_{name}" for name in sorted(known)) + ".",
                id="outbox.W001",
            )


def _importable(name: str, path: str) -> Iterator[CheckMessage]:
    try:
        import_string(path)
    except ImportError as error:
        yield Error(f"OUTBOX_{name} can't be imported: {error}", id="outbox.E003")


def _is(value: Any, expected: Any) -> bool:
    if get_origin(expected) is UnionType:
        return any(_is(value, one) for one in get_args(expected))
    if isinstance(value, bool):
        return expected is bool
    return isinstance(value, (int, float) if expected is float else expected)


def _words(expected: Any) -> str:
    if get_origin(expected) is UnionType:
        return " or ".join(_words(one) for one in get_args(expected))
    return "None" if expected is type(None) else f"a {expected.__name__}"
