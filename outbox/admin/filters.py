"""The filters of the lists: each narrows a listing by one field of a `Selection`.

A value is compared as it is, as text; one that means nothing matches nothing, so that an action on
all that match never takes on more than somebody meant.
"""

import time
from collections.abc import Callable, Iterable
from datetime import timedelta
from functools import lru_cache
from typing import Any

from django.contrib.admin import SimpleListFilter
from django.http import HttpRequest

from outbox import dead_letters, discovery, message_store
from outbox.admin.change_list import Listing
from outbox.admin.display import STATES
from outbox.messages import IntegrationEvent

Lookups = list[tuple[str, str]]

#: Seconds that a process knows the names by which there is to choose, before it asks again.
REMEMBERED_FOR = 60


@lru_cache(maxsize=2)
def _names(read: Callable[[], list[str]], period: int) -> list[str]:
    return read()


def remembered(read: Callable[[], list[str]]) -> list[str]:
    """The names that `read` finds, or found a short time ago."""
    return _names(read, int(time.monotonic() // REMEMBERED_FOR))


def forget() -> None:
    """Ask again from now on; for tests."""
    _names.cache_clear()


class ValueFilter(SimpleListFilter):
    """Filters by equality; the parameter's name is the field's."""

    def values(self) -> Iterable[str]:
        """What there is to choose from."""
        raise NotImplementedError

    def lookups(self, request: HttpRequest, model_admin: Any) -> Lookups:
        # With the one chosen, even if it is none of them: a filter in force is to be seen.
        chosen = [value] if (value := self.value()) else []
        return [(value, value) for value in dict.fromkeys([*self.values(), *chosen])]

    def has_output(self) -> bool:
        # One that isn't put out isn't applied either.
        return super().has_output() or self.value() is not None

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        value = self.value()
        field = str(self.parameter_name)
        return queryset if value is None else queryset.narrowed(**{field: value})


class TopicFilter(ValueFilter):
    """By topic: those that are declared."""

    title = parameter_name = "topic"

    def values(self) -> Iterable[str]:
        return discovery.topics()


class TypeFilter(ValueFilter):
    """By type: those that were dispatched."""

    title = parameter_name = "type"

    def values(self) -> Iterable[str]:
        return remembered(message_store.types)


class PendingTypeFilter(TypeFilter):
    """By type: those that are declared, and those on the page.

    What waits may never have been dispatched, and may not be declared any more.
    """

    def values(self) -> Iterable[str]:
        return sorted(_declared_types(IntegrationEvent))[: message_store.MOST_NAMES]

    def choices(self, changelist: Any) -> Any:
        here = {one.type for one in changelist.result_list} - {
            one for one, _ in self.lookup_choices
        }
        self.lookup_choices = sorted([*self.lookup_choices, *((one, one) for one in here)])
        return super().choices(changelist)


def _declared_types(kind: type[IntegrationEvent]) -> set[str]:
    """The names of the classes below `kind`, but for those that are only the base of others."""
    below = kind.__subclasses__()
    return {name for one in below for name in _declared_types(one) or {one.message_name}}


class SubscriberFilter(ValueFilter):
    """By subscriber: those that are declared."""

    title = parameter_name = "subscriber"

    def values(self) -> Iterable[str]:
        return sorted(one.name for one in discovery.subscribers())


class ErrorFilter(ValueFilter):
    """By the class of the error that a subscriber failed with at last."""

    title, parameter_name = "error", "error_type"

    def values(self) -> Iterable[str]:
        return remembered(dead_letters.error_types)


class ChoiceFilter(SimpleListFilter):
    """Filters by one of a few `choices_`; anything else matches nothing."""

    choices_: dict[str, str]

    def lookups(self, request: HttpRequest, model_admin: Any) -> Lookups:
        return list(self.choices_.items())

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        value = self.value()
        if value is None:
            return queryset
        return self.chosen(queryset, value) if value in self.choices_ else queryset.none()

    def chosen(self, listing: Listing, value: str) -> Listing:
        return listing.narrowed(**{str(self.parameter_name): value})


def named(*states: str) -> dict[str, str]:
    """States, and what the pages call them."""
    return {state: STATES[state] for state in states}


class PendingStateFilter(ChoiceFilter):
    """By how a pending message has fared."""

    title = parameter_name = "state"
    choices_ = named("stuck", "failed", "untried")


class WaitingStateFilter(ChoiceFilter):
    """By whether the subscriber has tried it."""

    title = parameter_name = "state"
    choices_ = named("tried", "untried")


class DeadLetterStateFilter(ChoiceFilter):
    """By what has become of a dead letter; without a choice, those that are to be acted on."""

    title = parameter_name = "state"
    choices_ = named(
        dead_letters.DEAD,
        dead_letters.REPLAYING,
        dead_letters.REPLAYED,
        dead_letters.DISCARDED,
    )

    def choices(self, changelist: Any) -> Any:
        chosen = self.value() or dead_letters.DEAD
        for value, title in self.lookup_choices:
            yield {
                "selected": value == chosen,
                "query_string": changelist.get_query_string({self.parameter_name: value}),
                "display": title,
            }


class AgeFilter(ChoiceFilter):
    """By how long ago it happened."""

    title = parameter_name = "age"
    choices_ = {  # noqa: RUF012
        "under-hour": "the last hour",
        "under-day": "the last day",
        "over-minute": "more than a minute",
        "over-hour": "more than an hour",
        "over-day": "more than a day",
    }
    _lengths = {  # noqa: RUF012
        "minute": timedelta(minutes=1),
        "hour": timedelta(hours=1),
        "day": timedelta(days=1),
    }

    def chosen(self, listing: Listing, value: str) -> Listing:
        side, _, length = value.partition("-")
        moment = message_store.now() - self._lengths[length]
        return listing.narrowed(**{"since" if side == "under" else "until": moment})
