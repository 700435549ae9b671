"""An operation: what can be done to messages, in the words of the admin's pages."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import Any

from django.contrib.admin.utils import model_ngettext
from django.utils.translation import ngettext

from outbox.admin.display import when
from outbox.errors import AlreadyDone, BrokerUnavailable, OutboxError
from outbox.operations import Done

#: Explanations of single messages that are told at a time.
EXPLAINED = 5


@dataclass(frozen=True)
class Operation:
    """What can be done to messages: its words, and the function of `operations` that does it.

    `done` goes after how many, and `missed` after how many there was nothing to do for: the words
    after one, and after more. `rest` says what to do about those that were too many.
    """

    name: str
    title: str
    explanation: str
    done: tuple[str, str]
    missed: tuple[str, str]
    run: Callable[..., Done]
    needs_reason: bool = False
    rest: str = "There are more: do it again for the next ones."

    def told(self, done: Done, opts: Any) -> str:
        """What has been done to objects of a model with these `opts`, and what hasn't."""
        what = (
            f"{done.count:,} {model_ngettext(opts, done.count)} {ngettext(*self.done, done.count)}."
        )
        parts = [what if done.count else "Nothing was done."]
        if done.missed:
            parts.append(f"{done.missed:,} {ngettext(*self.missed, done.missed)}.")
        parts += [f"{key}: {why}" for key, why in islice(done.why.items(), EXPLAINED)]
        if done.left:
            parts.append(self.rest)
        return " ".join(parts)


def broken_off(error: OutboxError) -> str:
    """What came of an operation that had to stop."""
    what = str(error)
    if isinstance(error, BrokerUnavailable):
        what = "The broker can't be reached or doesn't answer."
    return (
        f"It was broken off. {what} What was done before stays done; doing it again when that is "
        "mended does the rest, and what is done twice has one effect."
    )


def already(error: AlreadyDone) -> str:
    """What came of it the first time."""
    begun = f"by {error.by or 'somebody'}, at {when(error.at)}"
    if error.done is None:
        return f"This is being done already, {begun}, or was broken off: load the list again."
    count = error.done.count
    acted = ngettext(f"{count:,} was acted on", f"{count:,} were acted on", count)
    return f"This has been done already, {begun}: {acted}."
