"""Sequencing: which events are next in their aggregate's order, and which aren't."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from outbox.delivery import Delivery


@dataclass
class Arrangement:
    """Some deliveries, held against how far the subscriber has come with each aggregate."""

    in_turn: list[Delivery] = field(default_factory=list)
    repeats: list[Delivery] = field(default_factory=list)
    early: list[Delivery] = field(default_factory=list)


def arrange(deliveries: Iterable[Delivery], cursors: Mapping[str, int]) -> Arrangement:
    """Tell deliveries apart, in their order, by the last number of each aggregate in `cursors`.

    An aggregate that isn't there begins with number 1.
    """
    found, last = Arrangement(), dict(cursors)
    for delivery in deliveries:
        known = last.get(delivery.aggregate_id, 0)
        if delivery.sequence <= known:
            found.repeats.append(delivery)
        elif delivery.sequence == known + 1:
            found.in_turn.append(delivery)
            last[delivery.aggregate_id] = delivery.sequence
        else:
            found.early.append(delivery)
    return found
