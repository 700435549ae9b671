"""Outages: told once while they go on, and another one at once."""

import pytest

from outbox import outages


@pytest.fixture
def waiting():
    return outages.Outages("Consumers")


def said(caplog):
    return [record.getMessage() for record in caplog.records]


def test_one_is_told_once_and_that_it_is_over(waiting, caplog):
    waiting.began(ValueError("Redis can't be reached: port 1"))
    waiting.began(ValueError("Redis can't be reached: port 2"))
    waiting.ended()
    waiting.ended()
    assert said(caplog) == [
        "Consumers wait, nothing is lost: Redis can't be reached: port 1",
        "Consumers go on after 0 s.",
    ]


def test_another_one_is_told_at_once(waiting, caplog):
    waiting.began(ValueError("Redis can't be reached: port 1"))
    waiting.began(ValueError("MongoDB can't be reached: port 2"))
    assert len(said(caplog)) == 2


def test_two_that_take_turns_are_each_told_once(waiting, caplog):
    for _ in range(3):
        waiting.began(ValueError("Redis can't be reached: port 1"))
        waiting.began(ValueError("MongoDB can't be reached: port 2"))
    assert len(said(caplog)) == 2


def test_one_that_goes_on_is_told_again(waiting, caplog, monkeypatch):
    monkeypatch.setattr(outages, "REMIND_AFTER", 0.0)
    waiting.began(ValueError("away"))
    waiting.began(ValueError("away"))
    assert len(said(caplog)) == 2


def test_of_a_single_one_the_grammar_holds(caplog):
    one = outages.Outages("letters on orders", single=True)
    one.began(ValueError("away"))
    one.ended()
    assert said(caplog) == [
        "letters on orders waits, nothing is lost: away",
        "letters on orders goes on after 0 s.",
    ]
