"""`outbox_trim`: what the task does, without Celery."""

import io

import pytest
from django.core.management import CommandError, call_command

from outbox import trimming
from outbox.errors import BrokerUnavailable
from outbox.trimming import Behind, Trimmed


def run(monkeypatch, *streams):
    monkeypatch.setattr(
        "outbox.management.commands.outbox_trim.trim", lambda dry_run: list(streams)
    )
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


def test_a_dry_run_says_how_many_it_would_be_and_changes_nothing(redis, monkeypatch):
    monkeypatch.setattr(trimming, "topics", lambda: ["notes"])
    monkeypatch.setattr(trimming, "STEP", 3)
    monkeypatch.setattr("outbox.management.commands.outbox_trim.STEP", 3)
    redis.xadd("notes", {"event": "{}"}, id="1-0")
    redis.xadd("notes", {"event": "{}"}, id="2-0")
    redis.xgroup_create("notes", "readers", id="2-0")
    redis.xgroup_create("notes", "late", id="1-0")
    out = io.StringIO()
    call_command("outbox_trim", "--dry-run", stdout=out)
    first, second = out.getvalue().splitlines()
    assert first == "notes: 1 of 2 would be trimmed"
    assert second.startswith("  late is behind: 2-0 is not acknowledged for ")
    assert redis.keys() == [b"notes"]
    redis.xgroup_setid("notes", "late", "2-0")
    for number in (3, 4):
        redis.xadd("notes", {"event": "{}"}, id=f"{number}-0")
    redis.xgroup_setid("notes", "late", "4-0")
    redis.xgroup_setid("notes", "readers", "4-0")
    out = io.StringIO()
    call_command("outbox_trim", "--dry-run", stdout=out)
    assert out.getvalue() == "notes: at least 3 of 4 would be trimmed\n"
    assert redis.xlen("notes") == 4


def test_a_broker_that_is_away_is_said_in_words(monkeypatch):
    def away(dry_run):
        raise BrokerUnavailable("Redis can't trim")

    monkeypatch.setattr("outbox.management.commands.outbox_trim.trim", away)
    with pytest.raises(CommandError, match="Redis can't trim"):
        call_command("outbox_trim")
