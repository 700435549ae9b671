"""Health: whether the servers answer, and how the outbox does, told in bounded time."""

import logging
import time
from concurrent.futures import Future
from typing import NamedTuple, TypeVar

import pymongo

from outbox import bounded, connections, diagnosis, monitoring
from outbox.conf import conf

logger = logging.getLogger(__name__)

T = TypeVar("T")

#: Seconds that the servers have to answer in; and that finding out how the outbox does may take.
PATIENCE, CONDITION_PATIENCE = 1.5, 8.0

#: The publisher that does without a broker.
IN_PROCESS = "outbox.publishers.memory.InMemoryPublisher"


class Condition(NamedTuple):
    """How the outbox does: `level` is "well", "warning" or "bad", `codes` name the problems.

    They are those of `diagnosis`, and "store": it couldn't be asked.
    """

    level: str
    codes: list[str]


UNKNOWN = Condition("bad", ["store"])


def servers() -> dict[str, bool]:
    """Whether the store (MongoDB's primary) and the broker (Redis) answer a ping.

    Raises nothing, and takes no longer than `PATIENCE`, however they hang.
    """
    deadline = time.monotonic() + PATIENCE
    asked = {"store": bounded.ask(_store_answers), "broker": bounded.ask(_broker_answers)}
    return {name: _by(deadline, answer, False) for name, answer in asked.items()}


def condition() -> Condition:
    """How the outbox does by `OUTBOX_THRESHOLDS`; bad, if that can't be found out.

    Raises nothing, and takes no longer than `CONDITION_PATIENCE`.
    """
    return _by(time.monotonic() + CONDITION_PATIENCE, bounded.ask(_condition), UNKNOWN)


def _store_answers() -> bool:
    if not connections.is_in_process():
        with pymongo.timeout(PATIENCE):
            connections.database().command("ping")
    return True


def _broker_answers() -> bool:
    return conf.PUBLISHER == IN_PROCESS or bool(connections.redis_client(PATIENCE).ping())


def _condition() -> Condition:
    found = diagnosis.problems(monitoring.overview())
    return Condition(diagnosis.level(found), sorted({problem.code for problem in found}))


def _by(deadline: float, answer: "Future[T]", otherwise: T) -> T:
    try:
        return bounded.answer_by(deadline, answer)
    except Exception as error:
        # Any error is a server that is not known to be well. Which it was is for the log: it may
        # name addresses, and who asks may be anybody.
        logger.warning("A health check has failed: %r", error, extra={"action": "health"})
        return otherwise
