"""The account that the demo gives: every kind of wrong history is told from a right one."""

import pytest

from config.demo.history import compare

COMMIT = 1_750_000_000_000
TIMESTAMP = "2025-06-15T15:06:40.000Z"


def order(order_id="o-1", **sequences):
    return {"_id": order_id, "outbox": {"sequences": sequences or {"orders": 3}}}


def entry(number, order_id="o-1", event_id=None, delay=10):
    event = {
        "eventId": event_id or f"{order_id}/{number}",
        "aggregateId": order_id,
        "sequenceNumber": number,
        "timestamp": TIMESTAMP,
    }
    return f"{COMMIT + delay}-0", event


def history_of(*entries, documents=None):
    return compare(documents or [order()], {"orders": entries})


def test_a_right_history_is_right():
    history = history_of(entry(1), entry(2), entry(3))
    assert history.is_right
    assert (history.documents, history.expected, history.published) == (1, 3, 3)
    assert history.duplicates == 0


def test_nothing_expected_and_nothing_published_is_right():
    history = compare([], {})
    assert history.is_right
    assert history.delay(50) is None


@pytest.mark.parametrize("gone", [1, 2, 3])
def test_an_event_that_is_not_on_the_stream_is_missing_and_disturbs_no_order(gone):
    history = history_of(*(entry(number) for number in (1, 2, 3) if number != gone))
    assert history.missing == [("o-1", "orders", gone)]
    assert not history.out_of_order
    assert not history.is_right


def test_everything_is_missing_when_the_stream_is():
    history = compare([order()], {})
    assert len(history.missing) == 3


def test_an_event_that_comes_after_a_later_one_is_out_of_order():
    history = history_of(entry(1), entry(3), entry(2))
    assert history.out_of_order == [("o-1", "orders", 2)]
    assert not history.missing
    assert not history.is_right


def test_repeats_are_counted_and_change_nothing_else():
    history = history_of(entry(1), entry(2), entry(1), entry(2), entry(3))
    assert history.duplicates == 2
    assert history.published == 3
    assert history.is_right


def test_a_repeat_does_not_stand_in_for_the_missing():
    history = history_of(entry(1), entry(2), entry(2))
    assert history.missing == [("o-1", "orders", 3)]


def test_a_number_used_by_two_events_is_invented():
    history = history_of(entry(1), entry(2), entry(2, event_id="another"), entry(3))
    assert history.invented == [("o-1", "orders", 2)]
    assert not history.is_right


@pytest.mark.parametrize("number", [0, 4])
def test_a_number_that_no_document_gave_out_is_invented(number):
    history = history_of(entry(1), entry(2), entry(3), entry(number))
    assert history.invented == [("o-1", "orders", number)]


def test_an_event_of_no_document_is_invented():
    history = history_of(entry(1), entry(2), entry(3), entry(1, order_id="o-2"))
    assert history.invented == [("o-2", "orders", 1)]


def test_orders_do_not_wait_for_each_other():
    documents = [order("o-1", orders=2), order("o-2", orders=2)]
    entries = [entry(1, "o-2"), entry(1, "o-1"), entry(2, "o-1"), entry(2, "o-2")]
    assert history_of(*entries, documents=documents).is_right


def test_each_topic_has_its_own_sequence():
    documents = [order(orders=1, internal=2)]
    right = compare(documents, {"orders": [entry(1)], "internal": [entry(1), entry(2)]})
    assert right.is_right
    assert right.expected == 3
    wrong = compare(documents, {"orders": [entry(1), entry(2)], "internal": [entry(1)]})
    assert wrong.missing == [("o-1", "internal", 2)]
    assert wrong.invented == [("o-1", "orders", 2)]


def test_delays_are_from_commit_to_the_first_time_on_the_stream():
    history = history_of(entry(1, delay=5), entry(2, delay=20), entry(1, delay=9000), entry(3))
    assert history.delays == [5, 20, 10]
    assert history.delay(50) == 10
    assert history.delay(99) == 20
