"""Whatever happens on an event's way, in whatever order: it isn't lost, and has its effect once.

The short form keeps MongoDB's part in this process (mongomock) and has a real Redis. With
`STATEFUL=long` it is the real MongoDB, with transactional subscribers, for longer.
"""

import os

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from outbox.indexes import ensure_indexes
from tests import notes
from tests.stateful.machine import WholeWay

LONG = os.environ.get("STATEFUL") == "long"


class Transactional(WholeWay):
    kinds = ("embedded", "projection", "recorded")


@pytest.fixture(autouse=True)
def _quiet(settings, caplog):
    settings.OUTBOX_PARTITIONS = 2
    settings.OUTBOX_BREAKER_FAILURES = 1_000_000
    settings.OUTBOX_DEAD_LETTER_ALERT = 1_000_000
    caplog.set_level("CRITICAL")


@pytest.fixture
def mongomock(settings):
    """MongoDB's part in this process."""
    settings.OUTBOX_MONGODB_URI = "mongomock://"
    settings.OUTBOX_MONGODB_DATABASE = "stateful"
    ensure_indexes([notes.repository()])


def run(machine, *, examples, steps, **more):
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            print_blob=True,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
            **more,
        ),
    )


@pytest.mark.usefixtures("mongomock", "redis")
def test_in_short():
    """The same examples each time: what `make test` says of the code doesn't depend on luck."""
    run(WholeWay, examples=120, steps=30, derandomize=True)


@pytest.mark.skipif(not LONG, reason="STATEFUL=long isn't set")
@pytest.mark.usefixtures("mongo", "redis")
def test_at_length():
    run(Transactional, examples=1000, steps=50)
