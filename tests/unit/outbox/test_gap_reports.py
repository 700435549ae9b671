import json
import logging

import pytest

from outbox import gap_reports
from outbox.delivery import read
from outbox.gap_reports import GapReports
from tests.integration.outbox.consuming import event


@pytest.fixture
def clock(monkeypatch):
    """What the time is, in a list of one."""
    now = [1000.0]
    monkeypatch.setattr(gap_reports.time, "monotonic", lambda: now[0])
    return now


def gaps(reports, *aggregates, is_new=True):
    for one in aggregates:
        found = read(json.dumps(event(one, 3)), "notes")
        reports.add(found, missing=2, waited=60.2, is_new=is_new)


def told(caplog):
    found = [(one.levelno, one.getMessage()) for one in caplog.records]
    caplog.clear()
    return found


def test_the_first_is_told_in_full_and_the_others_are_counted(clock, caplog):
    reports = GapReports("titles", "notes.1")
    gaps(reports, "n1", "n2", "n3", "n2")
    reports.tell()
    [record, _] = caplog.records
    assert (record.action, record.subscriber, record.stream) == ("gap", "titles", "notes.1")
    assert record.aggregate_id == "n1"
    assert told(caplog) == [
        (
            logging.ERROR,
            "titles has waited 60 s for number 2 of n1 in notes; number 3 is there. It waits on, "
            "and goes on the moment that comes (OUTBOX_GAP_POLICY is hold).",
        ),
        (
            logging.ERROR,
            "titles has waited as long for numbers of 2 other aggregates on notes.1.",
        ),
    ]


def test_what_comes_within_a_minute_is_told_of_when_it_is_over(clock, caplog):
    reports = GapReports("titles", "notes")
    gaps(reports, "n1")
    reports.tell()
    assert len(told(caplog)) == 1
    for seconds in range(1, 60):
        clock[0] = 1000.0 + seconds
        gaps(reports, f"n{seconds % 7}", is_new=seconds == 3)
        reports.tell()
    assert told(caplog) == []
    clock[0] = 1060.0
    reports.tell()
    [(level, first), (_, others)] = told(caplog)
    assert (level, "number 2 of n1 in" in first) == (logging.ERROR, True)
    assert "of 6 other aggregates" in others
    clock[0] = 1200.0
    reports.tell()
    assert told(caplog) == []


def test_what_has_been_told_of_before_is_a_warning(clock, caplog):
    reports = GapReports("titles", "notes")
    gaps(reports, "n1", "n2", is_new=False)
    reports.tell()
    assert [level for level, _ in told(caplog)] == [logging.WARNING] * 2
