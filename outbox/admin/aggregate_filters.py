"""The filters of an aggregate's list: by equality, each of a field that has an index."""

from collections.abc import Sequence
from typing import Any

from django.contrib.admin import SimpleListFilter
from django.http import HttpRequest


class FieldFilter(SimpleListFilter):
    """By one field. Without `choices_` it shows once a link has given it a value."""

    parameter_name: str
    choices_: Sequence[str]

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        # With the one chosen, even if it is none of them: a filter in force is to be seen.
        chosen = [value] if (value := self.value()) else []
        return [(value, value) for value in dict.fromkeys([*self.choices_, *chosen])]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        value = self.value()
        return queryset.where(self.parameter_name, value) if value else queryset


def filter_by(name: str, choices: Sequence[str] | None) -> type[SimpleListFilter]:
    """A filter class by a field of this name."""
    fields = {"title": name.replace("_", " "), "parameter_name": name, "choices_": choices or ()}
    return type("FieldFilter", (FieldFilter,), fields)
