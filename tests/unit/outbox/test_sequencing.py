import json
import random

from outbox.delivery import read
from outbox.sequencing import arrange
from tests.integration.outbox.consuming import event


def arranged(numbers, cursors=None):
    deliveries = [read(json.dumps(event("n1", one)), "notes") for one in numbers]
    found = arrange(deliveries, cursors or {})
    return [[one.sequence for one in some] for some in (found.in_turn, found.repeats, found.early)]


def test_those_in_turn_the_repeats_and_the_early_ones_are_told_apart():
    assert arranged([1, 2, 2, 4, 3, 1, 6]) == [[1, 2, 3], [2, 1], [4, 6]]
    assert arranged([3, 4, 5, 7], {"n1": 4}) == [[5], [3, 4], [7]]


def test_a_new_aggregate_begins_with_its_first_event():
    assert arranged([17, 18]) == [[], [], [17, 18]]
    assert arranged([2, 1, 2]) == [[1, 2], [], [2]]


def test_in_any_order_what_is_in_turn_is_gapless_and_nothing_is_left_out():
    for seed in range(50):
        numbers = [*range(1, 20), 3, 7]
        random.Random(seed).shuffle(numbers)
        in_turn, repeats, early = arranged(numbers)
        assert in_turn == list(range(1, len(in_turn) + 1))
        assert sorted(in_turn + repeats + early) == sorted(numbers)
