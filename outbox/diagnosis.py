"""Diagnosis: what is wrong with the outbox, how bad that is, and what to do about it.

In plain words, for the admin's overview, the API, `outbox_status` and the health check alike. The
thresholds are those of `OUTBOX_THRESHOLDS`.
"""

import textwrap
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from outbox import thresholds
from outbox.conf import conf
from outbox.discovery import collections
from outbox.envelope import timestamp
from outbox.monitoring import Overview, SubscriberState

WELL, WARNING, BAD = "well", "warning", "bad"

#: Failed attempts at an event from which on it is worth a warning; the first may be by chance.
SEVERAL = 3


class Problem(NamedTuple):
    """Something that is wrong.

    `level` is "warning" or "bad", `code` names its kind, `text` says what it is and `advice` what
    to do; `subject` is the subscriber that it is about, or "". `detail` is what a handler said: for
    those who may see its events, since there may be anything in it.
    """

    level: str
    code: str
    text: str
    advice: str
    subject: str = ""
    detail: str = ""


def problems(state: Overview) -> list[Problem]:
    """What is wrong, the worst first."""
    found = [*_of_broker(state), *_of_relays(state), *_of_messages(state)]
    # What kills a consumer comes before that it is gone.
    found += _of_failing(state)
    for one in state.subscribers:
        found += _of_subscriber(one, bool(state.broker_error))
    return sorted(found, key=lambda problem: problem.level != BAD)


def level(problems: Iterable[Problem]) -> str:
    """How it is on the whole: "well", "warning" or "bad"."""
    levels = {problem.level for problem in problems}
    return next((one for one in (BAD, WARNING) if one in levels), WELL)


def seconds_in_words(seconds: float) -> str:
    """A length of time as people say it: "50 s", "4 min", "3 h", "2 d"."""
    for length, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def _number(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"


def _of_broker(state: Overview) -> Iterator[Problem]:
    if state.broker_error:
        yield Problem(
            BAD,
            "broker",
            # Not what its client said: that names hosts, and this is shown to many.
            "Redis doesn't answer, so nothing is published or consumed.",
            "Commands go on and nothing is lost: all stays pending. Get Redis back; the relay goes "
            "on by itself within seconds.",
        )
    for key, kind in state.strange.items():
        yield Problem(
            BAD,
            "strange_key",
            f"The key {key} in Redis is a {kind} and no stream: nothing can be published there.",
            "See what has put it there, and rename or delete it; then `manage.py outbox_retry "
            "--all`.",
        )
    for name in state.lost:
        yield Problem(
            WARNING,
            "data_lost",
            f"In the last hour, {name} found its consumer group gone: Redis has lost data, or "
            "somebody has deleted it.",
            "It went on with what was there. Publish again what may be missing, for which "
            "`manage.py outbox_replay --since 2h --dry-run` shows what it would be; handled events "
            "are passed over.",
            name,
        )
    if not state.broker_error and any(
        one.name == "relay" and one.state == "open" for one in state.breakers
    ):
        yield Problem(
            BAD,
            "breaker",
            "A relay rests because Redis was away for it; it tries again each second.",
            "Redis answers here: if this stays, look whether the relay's process can reach it.",
        )


def _of_relays(state: Overview) -> Iterator[Problem]:
    if not (conf.STATISTICS and collections()):
        return  # nobody would be seen, or nobody is needed
    text, last = "No relay was seen in the last hour", ""
    if state.relay_seen is not None:
        text = f"No relay was seen for {seconds_in_words(state.relay_seen)}"
        last = f" The last was {state.relay}." if state.relay else ""
    if how := _judged("relay_seen", float("inf") if state.relay_seen is None else state.relay_seen):
        yield Problem(
            how,
            "no_relay",
            f"{text}: nothing is published.{last}",
            "Start the Celery worker and beat (both are needed), or look in their logs; a process "
            "that is still there hangs, and has to be ended first. To publish what waits "
            "meanwhile: `manage.py outbox_sweep`.",
        )


def _of_messages(state: Overview) -> Iterator[Problem]:
    if state.pending.oldest is not None:
        age = (state.at - state.pending.oldest).total_seconds()
        if how := _judged("pending_age", age):
            about = "" if state.pending.is_exact else "about "
            waiting = _number(state.pending.messages, "message waits", "messages wait")
            text = f"Events are late: {about}{waiting}, the oldest for {seconds_in_words(age)}."
            advice = (
                "If no relay or no broker is there, begin with that; if some are stuck, with those."
            )
            if refused := state.refused - state.stuck:
                text += f" {_number(refused, 'aggregate', 'aggregates')} had a message refused."
                advice += (
                    " Those that were refused wait for their next try: once the cause is mended, "
                    "`manage.py outbox_retry --all` has them tried at once."
                )
            else:
                advice += " Otherwise the relay is catching up: see if the number falls."
            yield Problem(how, "pending_age", text, advice)
    if how := _judged("stuck", state.stuck):
        yield Problem(
            how,
            "stuck",
            f"{_number(state.stuck, 'message is', 'messages are')} stuck: refused by the broker "
            f"{conf.STUCK_AFTER} times or more. What is behind in the same aggregate waits.",
            "`manage.py outbox_retry --stuck --dry-run` says why. Mend the cause and retry; "
            "discard what can never be published.",
        )
    if how := _judged("dead_letters", state.dead_letters):
        yield Problem(
            how,
            "dead_letters",
            f"{_number(state.dead_letters, 'event is a dead letter', 'events are dead letters')}, "
            "which a subscriber couldn't handle.",
            "`manage.py outbox_dead_letters list` says which and why. Mend the handler and replay "
            "them, or discard what needs no handling.",
        )


def _of_subscriber(one: SubscriberState, broker_is_away: bool) -> Iterator[Problem]:
    if conf.STATISTICS and not one.consumers:
        last = ""
        if one.last is not None:
            ago = seconds_in_words(one.last.seconds)
            last = f" The last, {one.last.process}, was seen {ago} ago."
        yield Problem(
            BAD if one.lag or one.unacknowledged or one.deferred else WARNING,
            "no_consumer",
            f"No consumer runs for {one.name}.{last}",
            f"Start one: `manage.py outbox_consume {one.name}`. It goes on where the last one "
            "ended; that one hangs if its process is still there, and can be ended.",
            one.name,
        )
    if not broker_is_away and (how := _judged("lag", one.lag_seconds or 0)):
        more = "" if one.lag_is_exact else "at least "
        unread = _number(one.lag or 0, "event", "events")
        yield Problem(
            how,
            "lag",
            f"{one.name} is behind: {more}{unread} of {one.topic} not read, "
            f"{one.unacknowledged or 0:,} not acknowledged, the oldest for "
            f"{seconds_in_words(one.lag_seconds or 0)}.",
            "See that its consumer runs and what it logs; more consumers help only with more "
            "partitions of the topic.",
            one.name,
        )
    if one.breaker == "open":
        yield Problem(
            WARNING,
            "breaker",
            f"{one.name} rests: what its handlers need has failed again and again.",
            "Its consumer's log says what. It tries again by itself, and nothing is lost.",
            one.name,
        )
    if how := _judged("missing", one.missing):
        yield Problem(
            how,
            "missing",
            f"{one.name} waits for events that haven't come; {one.missing:,} behind them wait.",
            "The consumer's log names the missing numbers: publish them again with "
            "`manage.py outbox_replay --aggregate ID --execute`.",
            one.name,
        )


def _of_failing(state: Overview) -> Iterator[Problem]:
    down = {one.name for one in state.subscribers if not one.consumers}
    for one in state.failing:
        more = f" {one.events - 1:,} others wait like it." if one.events > 2 else ""
        more = " One other waits like it." if one.events == 2 else more
        again = "tried again at" if one.due_at > state.at else "due again since"
        due = f"{again} {timestamp(one.due_at)[:19]}Z.{more}"
        which = f"`manage.py outbox_waiting --tried --subscriber {one.subscriber}`"
        if one.died:
            yield Problem(
                BAD if conf.STATISTICS and one.subscriber in down else WARNING,
                "crash_loop",
                f"{one.subscriber}: the process has died in attempt {one.attempts} of {one.event}; "
                f"{due}",
                f"See how the consumer's process ends (memory, a signal), and {which}. After as "
                "many deaths as it may have attempts it becomes a dead letter. Others are handled "
                "in between, and go on undisturbed in a process of their own: `manage.py "
                "outbox_consume` with the other subscribers' names.",
                one.subscriber,
            )
        elif one.attempts >= SEVERAL:
            yield Problem(
                WARNING,
                "failing",
                f"{one.subscriber} has failed {one.attempts} times on {one.event}; {due}",
                f"{which} says which and why. Mend the handler, or what it needs, before it "
                "becomes a dead letter; what is behind it in its aggregate waits.",
                one.subscriber,
                textwrap.shorten(one.error, 300, placeholder="…"),
            )


def _judged(name: str, value: float) -> str:
    warning, bad = thresholds.of(name)
    return BAD if value >= bad else WARNING if value >= warning else ""
