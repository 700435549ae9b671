"""System checks: what is wrong is reported at `manage.py check`, not at three in the morning.

outbox.E001  a setting has a value of the wrong type
outbox.E002  a setting has a value that can't work
outbox.E003  a dotted path can't be imported
outbox.E004  a handler within a save needs transactions, and the server has none
outbox.E005  a handler within a save that no repository was given: it would never run
outbox.E006  Redis keeps nothing (--deploy, as all of Redis')
outbox.E007  Redis deletes streams when its memory is full
outbox.E008  OUTBOX_REDIS_DURABILITY asks for what this Redis doesn't do
outbox.E009  a repository declares no index for a list of the admin (`AggregateAdmin`)
outbox.W001  a setting that the outbox doesn't know
outbox.W002  a subscriber needs transactions, and the server has none
outbox.W003  the server couldn't be asked if it has transactions
outbox.W004  Redis couldn't be asked what a crash would lose
outbox.W005  Redis makes snapshots at most
outbox.W006  Redis writes its append-only file to the disk once a second
outbox.W007  Redis leaves it to the system when its append-only file gets to the disk
outbox.W008  "aof" is asked for, and WAITAOF answers too early
outbox.W009  a Redis without its replicas takes messages
outbox.I001  a topic is subscribed to that no app here publishes to
"""

from collections.abc import Iterator
from datetime import timedelta
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

import pymongo
from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Error, Info, Warning
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string
from pymongo.errors import PyMongoError

from outbox import connections, thresholds, transactions
from outbox.conf import Settings, conf
from outbox.discovery import messaging, topics
from outbox.mapping import TOPIC
from outbox.streams import MOST_PARTITIONS
from outbox.subscriber import TRANSACTIONAL

DOTTED_PATHS = ("PUBLISHER", "ENVELOPE", "WAKE")
# Not BREAKER_RESET: a breaker that closes at once protects nobody.
MAY_BE_ZERO = ("BACKOFF", "BACKOFF_MAX", "HANDLED", "ANSWERS", "GAP_TIMEOUT", "WAKE_PAUSE")
GAP_POLICIES = ("hold", "pass")
DURABILITY = ("replicas", "aof")

#: Seconds that the server is given to say whether it has transactions.
PATIENCE = 2.0

REPLICA_SET = "Make the server a replica set, if only of one (mongod --replSet, rs.initiate())"


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
        elif name == "GAP_POLICY" and value not in GAP_POLICIES:
            text = f"OUTBOX_GAP_POLICY is {value!r}, which is not {' or '.join(GAP_POLICIES)}."
            messages.append(Error(text, id="outbox.E002"))
        elif name == "TOPICS":
            messages.extend(_topics(value))
        elif name == "THRESHOLDS":
            messages.extend(_thresholds(value))
        elif name == "REDIS_DURABILITY" and value is not None:
            messages.extend(_durability(value))
        elif name in DOTTED_PATHS and value is not None:
            messages.extend(_importable(name, value))
    return messages


def check_transactions(**kwargs: Any) -> list[CheckMessage]:
    """Check that the server has the transactions that something declared needs.

    It is asked only then, and never on `mongomock://`, which makes do without.
    """
    tables = messaging()
    given = {event for one in tables.repositories for event in getattr(one, "within", ())}
    messages: list[CheckMessage] = [
        Error(
            f"{event.__name__} has a handler in `within` of {module}, but no repository was given "
            "it, so it would never run.",
            hint="Give the table to the repository: Repository(EventMapping(publishes), within).",
            id="outbox.E005",
        )
        for event, module in tables.within.items()
        if event not in given
    ]
    events = tables.within | {event: event.__module__ for event in given - tables.within.keys()}
    needs = [
        *(_of_event(event.__name__, module) for event, module in events.items()),
        *(_of_subscriber(n) for n, one in tables.subscribes.items() if one.effect is TRANSACTIONAL),
    ]
    if not needs or connections.is_in_process():
        return messages
    try:
        with pymongo.timeout(PATIENCE):
            supported = transactions.supported(connections.database())
    except (PyMongoError, ImproperlyConfigured) as error:
        reason = str(error).partition(", Timeout: ")[0]  # not pymongo's account of each server
        text = f"MongoDB couldn't be asked if it has transactions, which are needed here: {reason}"
        return [*messages, Warning(text, id="outbox.W003")]
    return messages if supported else messages + needs


def check_topics(**kwargs: Any) -> list[CheckMessage]:
    """Tell of topics that nobody here publishes to: one may be misspelt, or another service's."""
    published = topics()
    return [
        Info(
            f"The subscriber {one.name} wants {one.topic}, to which no app of this project "
            f"publishes (there are: {', '.join(published) or 'none'}).",
            hint="Right if another service does: then silence it.",
            id="outbox.I001",
        )
        for one in messaging().subscribes.values()
        if one.topic not in published
    ]


def _of_event(event: str, module: str) -> CheckMessage:
    return Error(
        f"{event} has a handler within its save ({module}), which needs a transaction, and this "
        "MongoDB is standalone and has none: such a save would fail.",
        hint=REPLICA_SET + ", or let a subscriber do it after the save.",
        id="outbox.E004",
    )


def _of_subscriber(name: str) -> CheckMessage:
    return Warning(
        f"The subscriber {name} is transactional, and this MongoDB is standalone and has no "
        "transactions: `outbox_consume` will refuse to run it.",
        hint=REPLICA_SET + ".",
        id="outbox.W002",
    )


def _too_small(name: str, value: Any) -> bool:
    if isinstance(value, timedelta):
        return value < timedelta(seconds=1)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        # Written so that `nan` is too small as well.
        return not value >= 0 or (value == 0 and name not in MAY_BE_ZERO)
    return False


def _topics(topics: dict[Any, Any]) -> Iterator[CheckMessage]:
    for topic, options in topics.items():
        if not (isinstance(topic, str) and TOPIC.fullmatch(topic)):
            reason = f"{topic!r} can't be a topic"
        elif not isinstance(options, dict) or options.keys() != {"partitions"}:
            reason = f'{topic} has {options!r}, and not {{"partitions": number}}'
        elif not _is(number := options["partitions"], int) or not 1 <= number <= MOST_PARTITIONS:
            reason = (
                f"{topic} has {number!r} partitions, and not a number from 1 to {MOST_PARTITIONS}"
            )
        else:
            continue
        yield Error(f"OUTBOX_TOPICS can't work: {reason}.", id="outbox.E002")


def _durability(wanted: dict[Any, Any]) -> Iterator[CheckMessage]:
    reasons = ["it is empty: None asks for nothing"] if not wanted else []
    for name, number in wanted.items():
        if name not in DURABILITY:
            reasons.append(f"{name!r} is not {' or '.join(DURABILITY)}")
        elif not _is(number, int) or number < 1:
            reasons.append(f"{name} is {number!r}, and not a number from 1 on")
    for reason in reasons:
        yield Error(f"OUTBOX_REDIS_DURABILITY can't work: {reason}.", id="outbox.E002")


def _thresholds(given: dict[Any, Any]) -> Iterator[CheckMessage]:
    for name, pair in given.items():
        if name not in thresholds.DEFAULTS:
            reason = f"{name!r} is not one of {', '.join(thresholds.DEFAULTS)}"
        elif not (isinstance(pair, tuple | list) and len(pair) == 2):
            reason = f"{name} is {pair!r}, and not (what is worth a warning, what is bad)"
        elif not all(_is(number, float) and number > 0 for number in pair):
            reason = f"{name} is {pair!r}, and not two numbers above 0"
        elif not pair[0] <= pair[1]:
            reason = (
                f"{name} is {pair!r}: what is bad must not be less than what is worth a warning"
            )
        else:
            continue
        yield Error(f"OUTBOX_THRESHOLDS can't work: {reason}.", id="outbox.E002")


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
    return isinstance(
        value, (int, float) if expected is float else get_origin(expected) or expected
    )


def _words(expected: Any) -> str:
    if get_origin(expected) is UnionType:
        return " or ".join(_words(one) for one in get_args(expected))
    return "None" if expected is type(None) else f"a {expected.__name__}"
