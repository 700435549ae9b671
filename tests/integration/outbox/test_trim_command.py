"""`outbox_trim`: what the task does, without Celery."""

import io

import pytest
from django.core.management import CommandError, call_command

from outbox import trimming
from outbox.errors import BrokerUnavailable
from outbox.trimming import Behind, Trimmed


def run(monkeypatch, *streams):
    monkeypatch.setattr("outbox.management.commands.outbox_trim.trim", lambda: list(streams))
    out = io.StringIO()
    call_command("outbox_trim", stdout=out)
    return out.getvalue()


def test_it_says_what_it_trimmed_and_who_is_behind(monkeypatch):
    behind = [Behind("letters", "1-0", 700_000.4, 3)]
    said = run(
        monkeypatch,
        Trimmed("orders", 7, 2, 1.0, 2, []),
        Trimmed("stock", 0, 9, 800_000.0, 1, behind),
        Trimmed("others", 0, 1, 1.0, 0, []),
    )
    assert said == (
        "orders: 7 trimmed, 2 left\n"
        "stock: 0 trimmed, 9 left\n"
        "  letters is behind: 1-0 is not acknowledged for 700000 s\n"
        "others: 0 trimmed, 1 left\n"
        "  nobody reads it, so nothing is trimmed\n"
    )


def test_it_trims(redis, monkeypatch):
    monkeypatch.setattr(trimming, "topics", lambda: ["notes"])
    redis.xadd("notes", {"event": "{}"}, id="1-0")
    redis.xgroup_create("notes", "readers", id="$")
    call_command("outbox_trim", stdout=io.StringIO())
    assert redis.xlen("notes") == 0


def test_a_broker_that_is_away_is_said_in_words(monkeypatch):
    def away():
        raise BrokerUnavailable("Redis can't trim")

    monkeypatch.setattr("outbox.management.commands.outbox_trim.trim", away)
    with pytest.raises(CommandError, match="Redis can't trim"):
        call_command("outbox_trim")
