"""The checker: finds whatever is wrong, in histories that are wrong in each way."""

import copy
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.faults.checker import Faults, check
from tests.faults.length import times

TOPICS = ("notes", "notes-internal")

examples = settings(max_examples=times(25, 1000), deadline=None)


@dataclass
class Right:
    """A history in which everything is as it should be, and what would be made of it."""

    documents: list
    streams: dict
    effects: dict
    acknowledged: dict

    def check(self):
        entries = {
            topic: [(f"1750000000000-{place}", event) for place, event in enumerate(events)]
            for topic, events in self.streams.items()
        }
        return check(self.documents, entries, effects=self.effects, acknowledged=self.acknowledged)


def event(aggregate_id, topic, number, event_id=None):
    return {
        "eventId": event_id or f"{aggregate_id}/{topic}/{number}",
        "eventType": "NotePublished",
        "aggregateId": aggregate_id,
        "sequenceNumber": number,
        "timestamp": "2025-06-15T15:06:40.000Z",
        "payload": {"noteText": str(number)},
    }


def document(aggregate_id, lasts):
    outbox = {"sequences": dict(lasts), "pending": []}
    return {"_id": aggregate_id, "version": sum(lasts.values()), "outbox": outbox}


@st.composite
def right(draw, at_least=2):
    """Some aggregates, of which each has events enough to put one of them wrong."""
    lasts = {
        f"n{one}": {topic: draw(st.integers(at_least, 4)) for topic in TOPICS}
        for one in range(draw(st.integers(1, 3)))
    }
    streams = {topic: [] for topic in TOPICS}
    for topic in TOPICS:
        turns = [one for one, last in lasts.items() for _ in range(last[topic])]
        for aggregate_id in draw(st.permutations(turns)):
            number = 1 + sum(one["aggregateId"] == aggregate_id for one in streams[topic])
            streams[topic].append(event(aggregate_id, topic, number))
    effects = {one: list(range(1, last["notes"] + 1)) for one, last in lasts.items()}
    documents = [document(*one) for one in lasts.items()]
    acknowledged = {one["_id"]: one["version"] for one in documents}
    return Right(documents, streams, {"notes": effects}, acknowledged)


def with_repeats(data, history):
    """Publish some again, some time after they were first."""
    for events in history.streams.values():
        for _ in range(data.draw(st.integers(0, 3))):
            if events:
                first = data.draw(st.integers(0, len(events) - 1))
                at = data.draw(st.integers(first + 1, len(events)))
                events.insert(at, copy.deepcopy(events[first]))
    return history


def one_of(data, history, topic="notes"):
    return data.draw(st.sampled_from(history.streams[topic]))


def named(one, topic="notes"):
    return one["aggregateId"], topic, one["sequenceNumber"]


@examples
@given(st.data())
def test_a_right_history_is_right_however_often_events_are_repeated(data):
    faults = with_repeats(data, data.draw(right(at_least=0))).check()
    assert not faults
    assert str(faults) == "nothing is wrong"


@examples
@given(st.data())
def test_an_event_that_is_nowhere_is_missing(data):
    history = data.draw(right())
    gone = one_of(data, history)
    history.streams["notes"].remove(gone)
    faults = with_repeats(data, history).check()
    assert faults.missing == [named(gone)]
    assert str(faults).startswith("1 missing: [('n")


@examples
@given(st.data())
def test_an_event_that_is_still_pending_is_stuck_and_not_missing(data):
    history = data.draw(right())
    left = one_of(data, history)
    [stored] = [one for one in history.documents if one["_id"] == left["aggregateId"]]
    stored["outbox"]["pending"] = [{"topic": "notes", "sequence": left["sequenceNumber"]}]
    if data.draw(st.booleans()):
        history.streams["notes"].remove(left)
    faults = with_repeats(data, history).check()
    assert faults == Faults(stuck=[named(left)])


@examples
@given(st.data())
def test_two_events_of_an_aggregate_that_changed_places_are_out_of_order(data):
    history = data.draw(right())
    events, one = history.streams["notes"], one_of(data, history)
    others = [it for it in events if it["aggregateId"] == one["aggregateId"] and it is not one]
    other = data.draw(st.sampled_from(others))
    here, there = events.index(one), events.index(other)
    events[here], events[there] = other, one
    later = min(one["sequenceNumber"], other["sequenceNumber"])
    faults = with_repeats(data, history).check()
    assert (one["aggregateId"], "notes", later) in faults.out_of_order
    assert not faults.missing
    assert not faults.invented


@examples
@given(st.data())
def test_an_event_that_comes_again_under_another_id_is_invented(data):
    history = data.draw(right())
    one = one_of(data, history)
    again = event(one["aggregateId"], "notes", one["sequenceNumber"], event_id="another")
    at = data.draw(st.integers(0, len(history.streams["notes"])))
    history.streams["notes"].insert(at, again)
    assert named(one) in with_repeats(data, history).check().invented


@examples
@given(st.data())
def test_an_event_with_another_number_is_invented_and_its_own_missing(data):
    history = data.draw(right())
    one = one_of(data, history)
    right_one = named(one)
    wrong = data.draw(st.integers(-1, 6).filter(lambda it: it != right_one[2]))
    one["sequenceNumber"] = wrong
    faults = with_repeats(data, history).check()
    assert right_one in faults.missing
    assert any(found[0] == right_one[0] for found in faults.invented)


@examples
@given(st.data())
def test_an_event_of_no_document_is_invented(data):
    history = data.draw(right())
    at = data.draw(st.integers(0, len(history.streams["notes"])))
    history.streams["notes"].insert(at, event("nobody", "notes", 1))
    assert with_repeats(data, history).check().invented == [("nobody", "notes", 1)]


@examples
@given(st.data(), st.sampled_from(["aggregateId", "sequenceNumber", "eventType", "payload"]))
def test_a_repeat_that_says_something_else_is_invented(data, what):
    history = data.draw(right())
    again = copy.deepcopy(one_of(data, history))
    again[what] = {"sequenceNumber": 99}.get(what, "something else")
    history.streams["notes"].append(again)
    assert set(with_repeats(data, history).check().invented) == {named(again)}


def test_a_repeat_that_says_that_it_is_a_replay_is_the_same_event():
    again = event("n1", "notes", 1) | {"metadata": {"replayed": True}}
    streams = {"notes": [event("n1", "notes", 1) | {"metadata": {}}, again]}
    assert not Right([document("n1", {"notes": 1})], streams, {}, {}).check()


@examples
@given(st.data())
def test_an_effect_that_was_had_twice_is_named(data):
    history = data.draw(right())
    aggregate_id, numbers = data.draw(st.sampled_from(sorted(history.effects["notes"].items())))
    number = data.draw(st.sampled_from(numbers))
    numbers.insert(data.draw(st.integers(0, len(numbers))), number)
    faults = with_repeats(data, history).check()
    assert faults.effect_twice == [(aggregate_id, "notes", number)]


@examples
@given(st.data())
def test_an_effect_that_was_lost_is_named(data):
    history = data.draw(right())
    aggregate_id, numbers = data.draw(st.sampled_from(sorted(history.effects["notes"].items())))
    number = numbers.pop(data.draw(st.integers(0, len(numbers) - 1)))
    faults = with_repeats(data, history).check()
    assert faults == Faults(effect_missing=[(aggregate_id, "notes", number)])


@examples
@given(st.data())
def test_effects_that_changed_places_are_named(data):
    history = data.draw(right())
    aggregate_id, numbers = data.draw(st.sampled_from(sorted(history.effects["notes"].items())))
    at = data.draw(st.integers(0, len(numbers) - 2))
    numbers[at : at + 2] = numbers[at + 1], numbers[at]
    faults = with_repeats(data, history).check()
    assert (aggregate_id, "notes", numbers[at + 1]) in faults.effect_out_of_order


@pytest.mark.parametrize("aggregate_id", ["n1", "nobody"])
def test_an_effect_of_no_event_is_named(aggregate_id):
    history = Right([document("n1", {"notes": 0})], {"notes": []}, {}, {})
    history.effects = {"notes": {aggregate_id: [1]}}
    assert history.check() == Faults(effect_invented=[(aggregate_id, "notes", 1)])


@examples
@given(st.data())
def test_a_save_that_was_acknowledged_and_is_not_there_is_named(data):
    history = data.draw(right())
    one = data.draw(st.sampled_from(history.documents))
    if data.draw(st.booleans()):
        one["version"] -= 1
    else:
        history.documents.remove(one)
    assert (one["_id"], history.acknowledged[one["_id"]]) in history.check().unsaved


def test_each_topic_is_checked_for_itself():
    history = Right(
        [document("n1", {"notes": 1, "notes-internal": 2})],
        {"notes": [event("n1", "notes", 1)], "notes-internal": []},
        {"notes": {"n1": [1]}},
        {},
    )
    assert history.check().missing == [("n1", "notes-internal", number) for number in (1, 2)]


@pytest.mark.parametrize("seconds", [40, 41])
def test_an_aggregate_that_one_message_has_changed_in_two_writes_is_named(seconds):
    later = {"timestamp": f"2025-06-15T15:06:{seconds}.000Z"}
    cause = {"metadata": {"causationId": "c1"}}
    streams = {
        "notes": [event("n1", "notes", 1) | cause, event("n1", "notes", 2) | cause | later],
        # Others may have the same cause.
        "notes-internal": [
            event("n2", "notes-internal", 1) | cause | {"timestamp": "2025-06-15T15:07:00.000Z"}
        ],
    }
    documents = [document("n1", {"notes": 2}), document("n2", {"notes-internal": 1})]
    found = Right(documents, streams, {}, {}).check()
    # Two events of one write tell of one moment.
    assert found == Faults(caused_twice=[("n1", "notes", 2)] if seconds == 41 else [])
