"""Aggregates in the admin: a repository's documents, to look at, each beside its message history.

For the apps that have repositories (see docs/admin.md):

    @admin.register(Order)
    class OrderAdmin(AggregateAdmin):
        repository = OrderRepository
        newest = [("placed_at", -1), ("_id", -1)]
        filters = {"status": ["placed", "paid"], "customer_id": None}
        search_by = ("customer_id",)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any, ClassVar

from bson import Decimal128
from django.contrib.admin import ShowFacets
from django.contrib.admin.utils import unquote
from django.contrib.admin.views.main import ChangeList
from django.core.checks import CheckMessage, Error
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.text import capfirst

from outbox import documents, message_store, story
from outbox.admin.aggregate_filters import filter_by
from outbox.admin.aggregate_page import page_context
from outbox.admin.change_list import MessageChangeList
from outbox.admin.read_only import ReadOnlyAdmin
from outbox.admin.refused import unless_refused
from outbox.admin.unavailable import unless_unavailable
from outbox.document import showing
from outbox.message_store import REACH, Page
from outbox.repository import DocumentRepository


@dataclass(frozen=True)
class AggregateListing:
    """What the change list asks of a queryset: a term, and fields that have to be equal."""

    admin: "AggregateAdmin"
    term: str = ""
    equal: tuple[tuple[str, str], ...] = ()

    #: Django looks here for joins and order.
    query: ClassVar[Any] = SimpleNamespace(select_related=True, order_by=())

    def filter(self, *args: Any, **kwargs: Any) -> "AggregateListing":
        return self

    def order_by(self, *fields: Any) -> "AggregateListing":
        return self

    def where(self, name: str, value: str) -> "AggregateListing":
        return replace(self, equal=(*self.equal, (name, value)))

    def page(self, number: int, size: int) -> Page[Any]:
        """One page, read at once: what fails, fails here and not in a template."""
        found = documents.listed(
            self.admin.repository.collection,
            self.admin.newest,
            term=self.term,
            search=self.admin.search_by,
            equal=dict(self.equal),
            skip=(number - 1) * size,
            limit=size,
        )
        return replace(found, messages=self.admin.present(found.messages))


class AggregateAdmin(ReadOnlyAdmin):
    """Lists a repository's documents and shows each with its history; changes nothing.

    Its model is an unmanaged one: each of its fields is read from the document's field of that
    name, and the primary key from `_id`. The list is in the order of `newest`, without counts; it
    is filtered by the fields in `filters` ({field: choices}; None for any value, from a link), and
    searched by id and by the fields in `search_by`. For `newest`, and for each of these fields with
    `newest` behind it, the repository has to declare an index; a system check (`outbox.E009`) says
    which is missing.
    """

    repository: ClassVar[type[DocumentRepository[Any]]]
    newest: ClassVar[Sequence[tuple[str, int]]]
    filters: ClassVar[Mapping[str, Sequence[str] | None]] = {}
    search_by: ClassVar[Sequence[str]] = ()

    list_per_page = 50
    sortable_by = ()
    actions = None
    show_facets = ShowFacets.NEVER
    show_full_result_count = False
    change_list_template = "admin/outbox/aggregate_list.html"
    object_history_template = "admin/outbox/history.html"

    class Media:
        css = {"all": ("outbox/admin.css", "outbox/overview.css")}  # noqa: RUF012

    @property
    def left_out(self) -> str:
        """What the list says when it ends before the documents do."""
        return f"There are more: this list looks only at the newest {REACH:,}. Search for an id."

    def present(self, found: Sequence[Mapping[str, Any]]) -> list[Any]:
        """The documents as objects of the model, which know when they were read (`read_at`)."""
        read_at = message_store.now() if found else None
        names = [one.name for one in self.opts.concrete_fields if not one.primary_key]
        objects = []
        for one in found:
            fields = {name: _plain(one[name]) for name in names if name in one}
            objects.append(self.model(pk=one["_id"], **fields))
            objects[-1].read_at = read_at
        return objects

    def get_queryset(self, request: HttpRequest) -> Any:
        return AggregateListing(self)

    def get_search_fields(self, request: HttpRequest) -> tuple[str, ...]:
        return ("_id", *self.search_by)

    @property
    def search_help_text(self) -> str:  # type: ignore[override]
        names = ["id", *(name.replace("_", " ") for name in self.search_by)]
        return f"A whole {' or '.join(names)}, exactly as it is written."

    def get_search_results(
        self, request: HttpRequest, queryset: Any, search_term: str
    ) -> tuple[Any, bool]:
        return replace(queryset, term=search_term.strip()), False

    def get_list_filter(self, request: HttpRequest) -> Any:
        return [filter_by(name, choices) for name, choices in self.filters.items()]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return MessageChangeList

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Any:
        found = documents.one(self.repository.collection, object_id)
        if found is None:
            return None
        [one] = self.present([found])
        one.document = found
        return one

    @unless_refused
    @unless_unavailable
    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        title = {"title": capfirst(self.opts.verbose_name_plural)}
        return super().changelist_view(request, {**title, **(extra_context or {})})

    @unless_refused
    @unless_unavailable
    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        if not self.has_view_permission(request) or request.method not in ("GET", "HEAD"):
            raise PermissionDenied
        one = self.get_object(request, unquote(object_id))
        if one is None:
            return self._get_obj_does_not_exist_redirect(  # type: ignore[attr-defined,no-any-return]
                request, self.opts, unquote(object_id)
            )
        parts = showing.parts(one.document)
        told = story.of(self.repository.collection, parts)
        context = {
            **self.admin_site.each_context(request),
            **page_context(self, request, one, parts, told),
            "title": f"{capfirst(self.opts.verbose_name)} {one.pk}",
            "opts": self.opts,
            "original": one,
            "media": self.media,
            **(extra_context or {}),
        }
        return TemplateResponse(request, "admin/outbox/aggregate.html", context)

    @unless_refused
    @unless_unavailable
    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        context = {"media": self.media, **(extra_context or {})}
        return super().history_view(request, object_id, context)

    def check(self, **kwargs: Any) -> list[CheckMessage]:
        """What Django checks of an admin, and that each list has its index."""
        declared = [list(one.document["key"].items()) for one in self.repository.indexes]
        declared += [[("_id", 1)], [("_id", -1)]]  # every collection has that one
        newest = list(self.newest)
        by = {name: [(name, 1), *newest] for name in (*self.filters, *self.search_by)}
        return [
            *super().check(**kwargs),
            *(
                Error(
                    f"{self.repository.__name__} declares no index on {keys}, so "
                    f"{type(self).__name__} can't list documents{f' by {name}' if name else ''}.",
                    hint="Add it to the repository's `indexes` and run `manage.py outbox_indexes`.",
                    obj=type(self),
                    id="outbox.E009",
                )
                for name, keys in {"": newest, **by}.items()
                if keys not in declared
            ),
        ]


def _plain(value: Any) -> Any:
    """A value as Django's fields have it."""
    return value.to_decimal() if isinstance(value, Decimal128) else value
