"""The change list: Django's own, over a listing of the message store instead of a queryset."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, ClassVar

from django.contrib.admin.views.main import PAGE_VAR, ChangeList
from django.db.models import Model
from django.http import HttpRequest

from outbox import message_store, operations
from outbox.message_store import Page, Selection


@dataclass(frozen=True)
class Listing:
    """What the change list asks of a queryset; `find` reads one page, `present` makes its rows.

    A listing has the store's order, which an index gives it. `selection` says what it is narrowed
    to, None that nothing can match; `keys` which of it somebody has chosen, None for all.
    """

    find: Callable[..., Page[Any]]
    present: Callable[[list[Any]], list[Model]]
    selection: Selection | None = field(default_factory=Selection)
    keys: tuple[str, ...] | None = None

    #: Django looks here for joins and order.
    query: ClassVar[Any] = SimpleNamespace(select_related=True, order_by=())

    def filter(self, *args: Any, **kwargs: Any) -> "Listing":
        """Of all that Django filters by, the only thing to heed are chosen keys."""
        chosen = kwargs.get("pk__in")
        return self if chosen is None else replace(self, keys=tuple(dict.fromkeys(chosen)))

    def order_by(self, *fields: Any) -> "Listing":
        return self

    def narrowed(self, **fields: Any) -> "Listing":
        """Only what has these fields of a `Selection` as well."""
        if self.selection is None:
            return self
        return replace(self, selection=replace(self.selection, **fields))

    def none(self) -> "Listing":
        return replace(self, selection=None)

    @property
    def wanted(self) -> tuple[str, ...] | Selection:
        """What an operation acts on: what is chosen, or all that matches; empty for neither."""
        return self.selection or () if self.keys is None else self.keys

    def page(self, number: int, size: int) -> Page[Model]:
        """One page, read at once: what fails, fails here and not in a template."""
        if self.selection is None:
            return Page(messages=[])
        found = self.find(self.selection, skip=(number - 1) * size, limit=size)
        return replace(found, messages=self.present(found.messages))


class MessageChangeList(ChangeList):
    """A change list that counts nothing: it knows its page, and whether there is another."""

    page: Page[Model]

    def get_filters_params(self, params: dict[str, Any] | None = None) -> dict[str, Any]:
        # What no filter knows is left out, rather than refused: there are no fields to look up.
        known = {getattr(one, "parameter_name", None) for one in self.list_filter}
        found: dict[str, Any] = super().get_filters_params(params)
        return {name: value for name, value in found.items() if name in known}

    def get_ordering(self, request: HttpRequest, queryset: Any) -> list[Any]:
        return []

    def get_results(self, request: HttpRequest) -> None:
        last = max(1, message_store.REACH // self.list_per_page)
        self.page_num = min(max(self.page_num, 1), last)
        # What is acted on is chosen already: nobody will see this page.
        acts = request.method == "POST"
        self.page = (
            Page(messages=[]) if acts else self.queryset.page(self.page_num, self.list_per_page)
        )
        self.result_list = self.page.messages
        # Of this page: equal numbers keep the templates from telling of a total.
        self.result_count = self.full_result_count = len(self.page.messages)
        self.show_full_result_count = False
        self.show_admin_actions = bool(self.page.messages)
        self.can_show_all = self.multi_page = False

    @property
    def previous_page(self) -> str | None:
        """The link to the page before, if there is one; from an empty page to the first."""
        if self.page_num == 1:
            return None
        return self._link(self.page_num - 1 if self.page.messages else 1)

    @property
    def next_page(self) -> str | None:
        """The link to the page after, if there is one."""
        return self._link(self.page_num + 1) if self.page.has_more else None

    @property
    def has_others(self) -> bool:
        """Whether more matches than is on this page."""
        return self.page_num > 1 or self.page.has_more or self.page.partial

    @property
    def is_narrowed(self) -> bool:
        """Whether there is a term or a filter that may leave messages out."""
        return bool(self.query or self.has_active_filters)

    @property
    def most(self) -> str:
        """How many of all that match an action takes on at a time."""
        return f"{operations.MOST:,}"

    def _link(self, number: int) -> str:
        return self.get_query_string({PAGE_VAR: number})
