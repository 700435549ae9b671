"""Dead letters: list them, look at one, have them tried again, or give them up."""

from collections.abc import Callable
from functools import partial
from typing import Any

from django.core.management.base import CommandError, CommandParser

from outbox import dead_letter_listing, dead_letters, operations
from outbox.dead_letter_listing import DEAD, REPLAYING
from outbox.discovery import subscribers
from outbox.management import acting, letter_text
from outbox.management.base import OutboxCommand, helped
from outbox.management.operator import add_reason, add_user
from outbox.management.selecting import add_filters, one_way, selection
from outbox.message_store import REACH, Selection
from outbox.operations import Done

#: What each does, and what the admin's log calls it.
ACTIONS: dict[str, tuple[Callable[..., Done], str]] = {
    "replay": (operations.replay_dead_letters, "Replayed"),
    "discard": (operations.discard_dead_letters, "Discarded"),
}

FILTERS = ("subscriber", "error_type", "type", "topic", "since")


class Command(OutboxCommand):
    help = (
        "List the events that subscribers couldn't handle, show one with all that is known of it, "
        "have them tried again, or give them up. Each action has a --help of its own."
    )
    examples = (
        "outbox_dead_letters list --error-type KeyError",
        "outbox_dead_letters replay --all --subscriber letters --dry-run",
    )

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
        listing = actions.add_parser(
            "list", help="the newest", **helped("outbox_dead_letters list --since 1h")
        )
        add_filters(listing, *FILTERS)
        listing.add_argument("--limit", type=int, default=100, help="at most so many (100)")
        listing.add_argument("--json", action="store_true", help="a JSON object a line, in full")
        show = actions.add_parser(
            "show",
            help="one of them, with the traceback and the payload",
            **helped("outbox_dead_letters show stock:0198c0de-0000-7000-8000-000000000000"),
        )
        show.add_argument("id", metavar="ID", help="an id as `list` shows it")
        for name, text, example in (
            (
                "replay",
                "have the subscriber, and no other, try again",
                "outbox_dead_letters replay --all --error-type KeyError",
            ),
            (
                "discard",
                "give up for good; is recorded",
                "outbox_dead_letters discard --all --type OrderPaid --reason tests",
            ),
        ):
            action = actions.add_parser(name, help=text, **helped(example))
            action.add_argument("ids", nargs="*", metavar="ID", help="ids as `list` shows them")
            action.add_argument("--all", action="store_true", help="all that are dead")
            add_filters(action, *FILTERS)
            action.add_argument("--dry-run", action="store_true", help="only say which")
            add_user(action)
            if name == "discard":
                action.add_argument("--reason", required=True, help="why, for whoever asks")
            else:
                add_reason(action)

    def handle(self, *args: Any, **options: Any) -> None:
        # One that is no longer declared may have left some.
        if (name := options.get("subscriber")) and name not in dead_letters.subscribers():
            subscribers([name])
        if options["action"] == "list":
            self._list(**options)
        elif options["action"] == "show":
            self._show(**options)
        else:
            self._act(**options)

    def _list(self, limit: int, **options: Any) -> None:
        chosen = selection(options, *FILTERS)
        for letter in dead_letter_listing.messages(chosen, limit=limit).messages:
            if not options["json"]:
                self.stdout.write(letter_text.short(letter))
            # The list is without what is long; it may have been dealt with meanwhile.
            elif (whole := dead_letter_listing.message(letter.key)) is not None:
                self.stdout.write(letter_text.as_json(whole))
        if not options["json"]:
            number = _count(chosen)
            replaying = _count(selection(options, *FILTERS, state="replaying"))
            self.stdout.write(
                f"{number} dead letter{'' if number == 1 else 's'}"
                + (f", {replaying} waiting to be tried again" if replaying else "")
            )

    def _show(self, id: str, **options: Any) -> None:
        found = dead_letter_listing.message(id)
        if found is None:
            raise CommandError(f"There is no dead letter {id!r}: `outbox_dead_letters list`.")
        self.stdout.write("\n".join(letter_text.in_full(found, self.colours)))

    def _act(self, action: str, ids: list[str], dry_run: bool, **options: Any) -> None:
        one_way(ids, options, ("all",), FILTERS)
        chosen = ids or selection(options, *FILTERS)
        if dry_run:
            self._preview(action, chosen)
            return
        run, title = ACTIONS[action]
        if action == "discard":
            run = partial(run, reason=options["reason"])
        by = {"user": options["user"], "reason": options["reason"]}
        done = acting.act(self, "dead_letters", chosen, run, title, **by)
        if action == "replay" and done.count:
            self.stdout.write(f"{done.count} to be tried again by their subscribers' consumers")
        else:
            self.stdout.write(f"{done.count} {action}ed")
        acting.tell_missed(self, "dead_letters", chosen, done, f"{action}ed")

    def _preview(self, action: str, chosen: list[str] | Selection) -> None:
        if isinstance(chosen, Selection):
            found = dead_letter_listing.messages(chosen, limit=REACH).messages
            total, failed = _count(chosen), []
        else:
            known = {one: dead_letter_listing.message(one) for one in chosen}
            found = [one for one in known.values() if one and one.state in (DEAD, REPLAYING)]
            total, there = len(found), {one.key for one in found}
            failed = [
                acting.NOT_THERE["dead_letters"].format(name) for name in known if name not in there
            ]
        for one in found:
            if action == "replay" and not one.type:
                failed.append(f"{one.key} can't be replayed, only discarded: it isn't an event.")
                total -= 1
            else:
                self.stdout.write(f"would {action} {letter_text.short(one)}")
        for text in failed:
            self.stderr.write(text)
        self.stdout.write(f"{total} would be {action}ed")
        if failed:
            raise CommandError(f"{len(failed)} could not be {action}ed.")


def _count(chosen: Selection) -> int:
    return operations.count("dead_letters", chosen, most=None)[0]
