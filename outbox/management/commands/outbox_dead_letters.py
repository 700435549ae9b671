"""Dead letters: list them, have them tried again, or give them up."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from outbox import dead_letters
from outbox.discovery import subscribers
from outbox.envelope import timestamp
from outbox.errors import MessagingError, OutboxError, StoreUnavailable, UnreadableEvent
from outbox.management.operator import operator


class Command(BaseCommand):
    help = (
        "List the events that subscribers couldn't handle, have them tried again, or give them "
        "up. Example: manage.py outbox_dead_letters replay --subscriber customer-orders --all"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
        listing = actions.add_parser("list", help="show the newest")
        listing.add_argument("--subscriber", help="of this one only")
        listing.add_argument("--limit", type=int, default=100, help="at most so many (100)")
        listing.add_argument("--json", action="store_true", help="a JSON object a line, in full")
        for name, text in (
            ("replay", "have the subscriber, and no other, try again"),
            ("discard", "give up for good; is recorded"),
        ):
            action = actions.add_parser(name, help=text)
            action.add_argument("ids", nargs="*", metavar="ID", help="ids as `list` shows them")
            action.add_argument("--all", action="store_true", help="all that are dead")
            action.add_argument("--subscriber", help="with --all: of this one only")
            action.add_argument("--dry-run", action="store_true", help="only say which")
            if name == "discard":
                action.add_argument("--reason", required=True, help="why, for whoever asks")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            # One that is no longer declared may have left some.
            if (name := options["subscriber"]) and name not in dead_letters.subscribers():
                subscribers([name])
            if options["action"] == "list":
                self._list(**options)
            else:
                self._act(**options)
        except (MessagingError, StoreUnavailable) as error:
            raise CommandError(str(error)) from error

    def _list(self, subscriber: str | None, limit: int, **options: Any) -> None:
        for letter in dead_letters.dead(subscriber, limit=limit):
            if options["json"]:
                self.stdout.write(json.dumps(letter, default=str, ensure_ascii=False))
            else:
                what = "unreadable"
                if "type" in letter:
                    what = "{type}, number {sequence} of {aggregate_id}".format(**letter)
                self.stdout.write(
                    f"{letter['_id']}  {timestamp(letter['failed_at'])}  {what}\n"
                    f"    {letter['attempts']} x {letter['error']}"
                )
        if not options["json"]:
            replaying = dead_letters.count_replaying(subscriber)
            self.stdout.write(
                f"{dead_letters.count(subscriber)} dead letters"
                + (f", {replaying} waiting to be tried again" if replaying else "")
            )

    def _act(self, ids: list[str], subscriber: str | None, **options: Any) -> None:
        if bool(ids) == options["all"]:
            raise CommandError("Name the ids to act on, or give --all.")
        done, failed, by = 0, 0, operator()
        chosen = ids or list(dead_letters.ids(subscriber))
        if options["dry_run"]:
            for letter_id in chosen:
                self.stdout.write(f"would {options['action']} {letter_id}")
            self.stdout.write(f"{len(chosen)} would be {options['action']}ed")
            return
        for letter_id in chosen:
            try:
                if options["action"] == "replay":
                    # Else nobody would ever come to try it again.
                    subscribers([letter_id.partition(":")[0]])
                    dead_letters.replay(letter_id, by=by)
                else:
                    dead_letters.discard(letter_id, reason=options["reason"], by=by)
            except StoreUnavailable:
                raise
            except UnreadableEvent as error:
                self.stderr.write(f"{letter_id} can't be replayed, only discarded: {error}")
                failed += 1
            except OutboxError as error:
                self.stderr.write(f"{letter_id}: {error}")
                failed += 1
            else:
                done += 1
        if options["action"] == "replay" and done:
            self.stdout.write(f"{done} to be tried again by their subscribers' consumers")
        else:
            self.stdout.write(f"{done} {options['action']}ed")
        if failed:
            raise CommandError(f"{failed} could not be {options['action']}ed.")
