"""Upcasting: brings events of older versions to the one that a handler knows.

Events lie on a stream for long, and a read model may be built anew from the first; a handler knows
the newest contract only. A new minor version adds fields, which older readers pass over; a new
major one needs an `Upcaster` for what was published before it.
"""

from collections.abc import Callable, Iterable
from copy import deepcopy
from typing import Any, NamedTuple, TypeVar

from pydantic import ValidationError

from outbox.delivery import Delivery
from outbox.errors import MessagingError, UnreadableEvent
from outbox.messages import IntegrationEvent

Payload = dict[str, Any]

E = TypeVar("E", bound=IntegrationEvent)

#: Of what is wrong with a payload, this much is told.
MOST_REASONS = 5


class Upcaster(NamedTuple):
    """A row of the table `upcasts` in an app's `messaging.py`: one step from version to version.

    `function` makes the payload of `to_version` out of one of `from_version`, both as parsed JSON
    with the names on the wire (`orderId`), and does nothing else.
    """

    type: str
    from_version: str
    to_version: str
    function: Callable[[Payload], Payload]


def upcast(
    upcasters: Iterable[Upcaster], type: str, version: str, payload: Payload
) -> tuple[str, Payload]:
    """The newest version that the upcasters lead to, and the payload in it.

    Raises `MessagingError` if they lead in a circle, and `UnreadableEvent` if one of them fails.
    """
    return _run(path(upcasters, type, version), version, payload)


def event_of(event_class: type[E], delivery: Delivery, upcasters: Iterable[Upcaster]) -> E:
    """The delivered event as an instance of the class that a handler knows.

    Upcast as far as that class's version, or another of the same major one. Read tolerantly:
    fields that the class doesn't know are passed over, nested ones too. Raises `UnreadableEvent`.
    """
    known = event_class.message_version
    if delivery.version == known:
        return _validated(event_class, known, delivery.payload)
    all_steps = path(upcasters, delivery.type, delivery.version)
    steps = _as_far_as(known, all_steps, delivery.version)
    if steps is None:
        raise UnreadableEvent(
            f"It is a {delivery.type} of version {delivery.version}, and known is {known}: declare "
            f'Upcaster("{delivery.type}", "{delivery.version}", "{known}", …) in `upcasts`.'
        )
    return _validated(event_class, *_run(steps, delivery.version, delivery.payload))


def _validated(event_class: type[E], version: str, payload: Any) -> E:
    try:
        # Lax in spite of a strict contract: JSON has no tuples and no dates.
        return event_class.model_validate(payload, strict=False, extra="ignore")
    except ValidationError as error:
        raise UnreadableEvent(
            f"It isn't a {event_class.message_name} of version {version}: {_reasons(error)}."
        ) from None


def path(upcasters: Iterable[Upcaster], type: str, version: str) -> list[Upcaster]:
    """The steps from `version` on, as far as they lead. Raises `MessagingError` for a circle."""
    by_version = {one.from_version: one for one in upcasters if one.type == type}
    steps: list[Upcaster] = []
    while (step := by_version.get(version)) is not None:
        if step in steps:
            raise MessagingError(
                f"The upcasters of {type} lead in a circle: {step.from_version} comes up again."
            )
        steps.append(step)
        version = step.to_version
    return steps


def _as_far_as(known: str, steps: list[Upcaster], version: str) -> list[Upcaster] | None:
    """As many of the steps as lead to what is known; None if none does."""
    versions = [version, *(step.to_version for step in steps)]
    if known in versions:
        return steps[: versions.index(known)]
    same = [i for i, one in enumerate(versions) if _major(one) == _major(known)]
    return steps[: same[-1]] if same else None


def _run(steps: list[Upcaster], version: str, payload: Any) -> tuple[str, Payload]:
    # A copy, for a function that changes what it is given: the event may be tried again.
    payload = deepcopy(payload) if steps else payload
    for step in steps:
        try:
            payload, version = step.function(payload), step.to_version
            if not isinstance(payload, dict):
                raise TypeError(f"it returned a {type(payload).__name__}, and not a dict")
        except Exception as error:
            # Any exception: the function is the application's, and this event is beyond it.
            raise UnreadableEvent(
                f"The upcaster of {step.type} from {step.from_version} failed: {error!r:.200}"
            ) from error
    return version, payload


def _major(version: str) -> str:
    return version.partition(".")[0]


def _reasons(error: ValidationError) -> str:
    found = error.errors(include_url=False, include_context=False, include_input=False)
    told = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in found[:MOST_REASONS]]
    if len(found) > MOST_REASONS:
        told.append(f"and {len(found) - MOST_REASONS} more")
    return "; ".join(told).removeprefix(": ")
