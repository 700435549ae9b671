"""The message bus: takes each command to its one handler."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from outbox import context
from outbox.errors import ConcurrencyError, NoHandler, StaleVersion
from outbox.messages import Command

CommandHandler = Callable[[Any], Any]

#: In force around each command while it is handled, whichever bus it is on: there is room for one,
#: and `outbox.tracing` takes it.
around: Callable[[Command], AbstractContextManager[object]] = nullcontext


class MessageBus:
    """Routes commands by class to the handlers of a plain table.

    Handlers are ready to call: what they need was given to them when the table was built. A
    handler that meets a `ConcurrencyError` is run again from the start, at most `reruns` times,
    since loading anew and deciding anew is what the loser of a race has to do. A `StaleVersion`
    isn't: the caller asked for a version that won't come back.
    """

    def __init__(self, handles: Mapping[type[Command], CommandHandler], *, reruns: int = 5) -> None:
        self._handles = dict(handles)
        self._reruns = reruns

    def handle(
        self, command: Command, *, message_id: str | None = None, fingerprint: str | None = None
    ) -> Any:
        """Run the handler of `command` and return what it returns.

        `message_id` identifies the command (a new id unless given): a repeat under the same id
        raises `AlreadyHandled` instead of taking effect twice. With a `fingerprint` of what the
        caller sent, another message under the same id raises `MessageIdReused`, and the answer
        to a repeat is kept (see `DocumentRepository.answer`).
        """
        try:
            handler = self._handles[type(command)]
        except KeyError:
            raise NoHandler(
                f"No handler for {type(command).__name__}: add it to `handles` in the "
                "messaging.py of an installed app."
            ) from None
        message_id = message_id or context.new_id()
        with around(command), context.handling(message_id, fingerprint=fingerprint):
            for _ in range(self._reruns):
                try:
                    return handler(command)
                except StaleVersion:
                    raise
                except ConcurrencyError:
                    continue
            return handler(command)
