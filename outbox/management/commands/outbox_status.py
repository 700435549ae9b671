"""Say how the outbox is, for people and for scripts."""

import json
import sys
from typing import Any

import pymongo
from django.core.management.base import CommandParser

from outbox import diagnosis, monitoring
from outbox.diagnosis import BAD, Problem
from outbox.management import status_text
from outbox.management.base import OutboxCommand

#: Seconds that MongoDB has to answer: whoever asks this wants to know now.
PATIENCE = 5.0

EXIT_CODES = {"well": 0, "warning": 1, "bad": 2}


class Command(OutboxCommand):
    help = (
        "Say how the outbox is: what waits, how far the subscribers are, what is wrong and what "
        "to do about it. Exits with 0 if all is well, 1 for a warning, 2 if it is bad "
        "(OUTBOX_THRESHOLDS), and also if MongoDB can't be asked."
    )
    examples = ("outbox_status", "outbox_status --json || echo something is wrong")
    # What is wrong with the settings is no reason not to look.
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="one JSON object, with all of it")

    def handle(self, *args: Any, **options: Any) -> None:
        state, problems = self._look()
        if options["json"]:
            said = {"level": diagnosis.level(problems), "problems": problems}
            if state is not None:
                said |= {name: getattr(state, name) for name in state.__dataclass_fields__}
            self.stdout.write(json.dumps(status_text.plain(said), ensure_ascii=False))
        elif state is None:
            self.stdout.write("\n".join(status_text.verdict(None, problems, self.colours)))
        else:
            self.stdout.write("\n".join(status_text.lines(state, problems, self.colours)))
        if code := EXIT_CODES[diagnosis.level(problems)]:
            self.stdout.flush()
            sys.exit(code)

    def _look(self) -> tuple[monitoring.Overview | None, list[Problem]]:
        """The state, and what is wrong; without a state if it can't be had."""
        try:
            with pymongo.timeout(PATIENCE):
                state = monitoring.overview()
            return state, diagnosis.problems(state)
        except Exception as error:
            # Any exception: one that ended this would end it with 1, which is only a warning.
            return None, [
                Problem(
                    BAD,
                    "store",
                    f"The outbox can't be asked how it is: {error}",
                    "Get MongoDB back, or put right how it is reached (OUTBOX_MONGODB_URI). Until "
                    "then commands are refused with 503; what is stored is safe, and is published "
                    "and consumed when MongoDB is back.",
                )
            ]
