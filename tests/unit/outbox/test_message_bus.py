from contextlib import contextmanager

import pytest

from outbox import (
    Command,
    ConcurrencyError,
    MessageBus,
    StaleVersion,
    context,
    message_bus,
)
from outbox.errors import NoHandler


class Ring(Command, name="Ring"):
    times: int = 1


def test_a_command_goes_to_its_one_handler_and_comes_back_with_what_that_returns():
    assert MessageBus({Ring: lambda command: command.times * 2}).handle(Ring(times=3)) == 6


def test_a_command_without_a_handler_is_an_error_that_says_what_to_do():
    with pytest.raises(NoHandler, match=r"Ring: add it to `handles`"):
        MessageBus({}).handle(Ring())


def failing(error, times):
    calls = []

    def handler(command):
        calls.append(command)
        if len(calls) <= times:
            raise error
        return len(calls)

    return handler, calls


def test_the_loser_of_a_race_is_run_again():
    handler, _ = failing(ConcurrencyError(), times=2)
    assert MessageBus({Ring: handler}).handle(Ring()) == 3


def test_a_race_that_is_lost_every_time_ends_after_a_bounded_number_of_reruns():
    handler, calls = failing(ConcurrencyError(), times=100)
    with pytest.raises(ConcurrencyError):
        MessageBus({Ring: handler}, reruns=4).handle(Ring())
    assert len(calls) == 1 + 4


def test_a_stale_version_is_not_tried_again():
    handler, calls = failing(StaleVersion(), times=100)
    with pytest.raises(StaleVersion):
        MessageBus({Ring: handler}).handle(Ring())
    assert len(calls) == 1


def test_a_handler_runs_in_the_context_of_its_command_and_in_the_same_conversation():
    def handler(command):
        return context.current()

    with context.use(context.MessageContext(correlation_id="talk")):
        seen = MessageBus({Ring: handler}).handle(Ring(), message_id="m1", fingerprint="f")
        other = MessageBus({Ring: handler}).handle(Ring())
    assert (seen.correlation_id, seen.message_id, seen.fingerprint) == ("talk", "m1", "f")
    assert other.correlation_id == "talk"
    assert other.message_id not in (None, "m1")


def test_reruns_keep_the_message_id():
    ids = []

    def handler(command):
        ids.append(context.current().message_id)
        if len(ids) < 3:
            raise ConcurrencyError

    MessageBus({Ring: handler}).handle(Ring())
    assert len(set(ids)) == 1


def test_what_is_around_commands_is_in_force_once_for_each_with_all_its_reruns(monkeypatch):
    seen = []

    @contextmanager
    def around(command):
        seen.append(("before", context._current.get()))
        yield
        seen.append("after")

    monkeypatch.setattr(message_bus, "around", around)
    handler, _ = failing(ConcurrencyError(), times=2)
    MessageBus({Ring: lambda command: seen.append("handled") or handler(command)}).handle(Ring())
    assert seen == [("before", None), "handled", "handled", "handled", "after"]
