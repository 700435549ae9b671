"""The change list: Django's own, over a listing of the message store instead of a queryset."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any, ClassVar

from django.contrib.admin import SimpleListFilter
from django.contrib.admin.views.main import PAGE_VAR, ChangeList
from django.db.models import Model
from django.http import HttpRequest

from outbox import message_store
from outbox.discovery import topics
from outbox.message_store import Page


@dataclass(frozen=True)
class Listing:
    """What the change list asks of a queryset; `find` reads one page, `present` makes its rows.

    A listing has the store's order, which an index gives it, and knows no fields to filter by but
    the topic and the one search term.
    """

    find: Callable[..., Page[Any]]
    present: Callable[[list[Any]], list[Model]]
    term: str = ""
    topic: str | None = None

    #: Django looks here for joins and order.
    query: ClassVar[Any] = SimpleNamespace(select_related=True, order_by=())

    def filter(self, *args: Any, **kwargs: Any) -> "Listing":
        return self

    def order_by(self, *fields: Any) -> "Listing":
        return self

    def matching(self, term: str) -> "Listing":
        return replace(self, term=term)

    def in_topic(self, topic: str) -> "Listing":
        return replace(self, topic=topic)

    def page(self, number: int, size: int) -> Page[Model]:
        """One page, read at once: what fails, fails here and not in a template."""
        found = self.find(term=self.term, topic=self.topic, skip=(number - 1) * size, limit=size)
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
        self.page = self.queryset.page(self.page_num, self.list_per_page)
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
    def is_narrowed(self) -> bool:
        """Whether there is a term or a filter that may leave messages out."""
        return bool(self.query or self.has_active_filters)

    def _link(self, number: int) -> str:
        return self.get_query_string({PAGE_VAR: number})


class TopicFilter(SimpleListFilter):
    """Filters by topic. Its choices are declared ones, so that none has to be searched for."""

    title = "topic"
    parameter_name = "topic"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(topic, topic) for topic in topics()]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        topic = self.value()
        return queryset if topic is None else queryset.in_topic(topic)
