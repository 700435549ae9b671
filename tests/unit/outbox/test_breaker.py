import time

import pytest

from outbox import signals
from outbox.breaker import Breaker


@pytest.fixture
def _quick(settings):
    settings.OUTBOX_BREAKER_FAILURES = 3
    settings.OUTBOX_BREAKER_RESET = 0.05


@pytest.fixture
def changes():
    found = []

    def note(sender, state, **_):
        found.append((sender, state))

    signals.breaker_changed.connect(note)
    yield found
    signals.breaker_changed.disconnect(note)


def fail(breaker, times):
    for _ in range(times):
        breaker.failed(ConnectionError())


@pytest.mark.usefixtures("_quick")
def test_it_opens_after_so_many_failures_in_a_row(changes):
    breaker = Breaker("letters")
    fail(breaker, 2)
    breaker.succeeded()
    fail(breaker, 2)
    assert breaker.is_closed
    assert breaker.rests_for == 0
    fail(breaker, 1)
    assert not breaker.is_closed
    assert 0 < breaker.rests_for <= 0.05
    assert changes == [("letters", "open")]


@pytest.mark.usefixtures("_quick")
def test_half_open_one_failure_opens_it_again_and_one_success_closes_it(changes):
    breaker = Breaker("letters")
    fail(breaker, 3)
    time.sleep(0.06)
    assert breaker.rests_for == 0
    breaker.let_one_try()
    assert breaker.state == "half-open"
    fail(breaker, 1)
    assert breaker.rests_for > 0
    breaker.let_one_try()
    breaker.succeeded()
    assert breaker.is_closed
    states = [state for _, state in changes]
    assert states == ["open", "half-open", "open", "half-open", "closed"]


@pytest.mark.usefixtures("_quick")
def test_what_another_streams_consumer_reports_while_it_is_open_changes_nothing():
    breaker = Breaker("letters")
    fail(breaker, 3)
    breaker.succeeded()
    fail(breaker, 1)
    assert breaker.state == "open"


@pytest.mark.usefixtures("_quick")
def test_a_receiver_of_the_signal_that_fails_changes_nothing():
    def fails(**_):
        raise RuntimeError

    signals.breaker_changed.connect(fails)
    try:
        breaker = Breaker("letters")
        fail(breaker, 3)
        assert breaker.state == "open"
    finally:
        signals.breaker_changed.disconnect(fails)
