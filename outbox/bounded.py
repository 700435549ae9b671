"""Questions answered in bounded time, for those who ask often and may be anybody.

Each question is asked by one thread of the process at a time; whoever else wants to know meanwhile
gets the same answer. So asking costs no more than the question, however many there are who ask, and
a server that hangs is waited for by one thread.
"""

import os
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from threading import Lock
from typing import Any, TypeVar

T = TypeVar("T")


def ask(question: Callable[[], T]) -> "Future[T]":
    """The answer to come; it is the one that is on its way already, if there is one."""
    executor, lock, asked = _asking(os.getpid())
    with lock:
        answer: Future[T] | None = asked.get(question)
        if answer is None or answer.done():
            asked[question] = answer = executor.submit(question)
    return answer


def answer_by(deadline: float, answer: "Future[T]") -> T:
    """The answer, if it comes before the monotonic clock says `deadline`.

    Raises `TimeoutError`, or what the question raises.
    """
    return answer.result(max(0.0, deadline - time.monotonic()))


@cache
def _asking(pid: int) -> tuple[ThreadPoolExecutor, Lock, dict[Any, "Future[Any]"]]:
    """What a process asks with; a forked child has threads of its own."""
    # One for each question there is, so that none waits for another that hangs.
    return ThreadPoolExecutor(8, "outbox-bounded"), Lock(), {}
