"""Redis' errors: whose fault one is, and what it says."""

import re

from redis.exceptions import (
    ClusterDownError,
    ConnectionError,
    ReadOnlyError,
    RedisError,
    TimeoutError,
    TryAgainError,
)

# What Redis answers when the fault is its own state.
BROKER_FAULTS = {
    "BUSY",
    "CLUSTERDOWN",
    "LOADING",
    "MASTERDOWN",
    "MISCONF",
    "NOAUTH",
    "NOREPLICAS",
    "READONLY",
    "TRYAGAIN",
    "UNBLOCKED",
}

# redis-py gives some of these a class of their own and takes the code out of their text.
BROKER_ERRORS = (ConnectionError, TimeoutError, ReadOnlyError, ClusterDownError, TryAgainError)

CODE = re.compile(r"[A-Z]+\b")

# Redis 6 tells in a script's error which line it was, Redis 7 and Valkey don't.
IN_SCRIPT = re.compile(r"^@user_script: ?\d+: -?")


def is_the_brokers_fault(error: RedisError) -> bool:
    """Whether it is about the state that Redis is in, and would go for other requests as well.

    Also when Redis can't be reached or doesn't answer in time.
    """
    code = CODE.match(text_of(error))
    return isinstance(error, BROKER_ERRORS) or bool(code and code[0] in BROKER_FAULTS)


def text_of(error: RedisError) -> str:
    """What Redis says, on one line, and the same whether a script has met with it or not."""
    return IN_SCRIPT.sub("", " ".join(str(error).split()))
