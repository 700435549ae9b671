"""What the pages of pending and of dispatched messages have in common."""

from typing import Any

from django.contrib.admin import ModelAdmin, ShowFacets
from django.contrib.admin.utils import flatten_fieldsets
from django.contrib.admin.views.main import ChangeList
from django.http import HttpRequest, HttpResponse
from django.utils.text import capfirst

from outbox import message_store
from outbox.admin.change_list import Listing, MessageChangeList, TopicFilter
from outbox.admin.fields import MessageFields
from outbox.admin.unavailable import unless_unavailable
from outbox.message_store import Page, StoredMessage


class MessageAdmin(MessageFields, ModelAdmin):  # type: ignore[type-arg]
    """A list of messages, and a page for each: to look at, not to change.

    A subclass says how they are read from the message store.
    """

    search_fields = ("aggregate_id", "event_id", "type")
    search_help_text = "A whole aggregate id, event id or type, exactly as it is written."
    list_filter = (TopicFilter,)
    list_per_page = 50
    sortable_by = ()
    show_facets = ShowFacets.NEVER
    show_full_result_count = False

    #: What the list says when it is empty, and when it ends before the messages do.
    nothing: str
    left_out: str

    class Media:
        css = {"all": ("outbox/admin.css",)}  # noqa: RUF012

    def find(self, *, term: str, topic: str | None, skip: int, limit: int) -> Page[Any]:
        """A page of messages, out of the store."""
        raise NotImplementedError

    def find_one(self, key: str) -> StoredMessage | None:
        """The message with this key, with its payload."""
        raise NotImplementedError

    def key(self, message: Any) -> str:
        """What names a message in the address of its page."""
        return str(message.event_id)

    def present(self, messages: list[Any]) -> list[Any]:
        """The messages as objects of the model, which know when they were read."""
        read_at = message_store.now() if messages else None
        objects = [self.model(**{**vars(one), "pk": self.key(one)}) for one in messages]
        for one in objects:
            one.read_at = read_at
        return objects

    def get_queryset(self, request: HttpRequest) -> Any:
        return Listing(self.find, self.present)

    def get_search_results(
        self, request: HttpRequest, queryset: Any, search_term: str
    ) -> tuple[Any, bool]:
        return queryset.matching(search_term.strip()), False

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Any:
        found = self.find_one(object_id)
        return self.present([found])[0] if found else None

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return flatten_fieldsets(self.get_fieldsets(request, obj))

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return MessageChangeList

    @unless_unavailable
    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        title = {"title": capfirst(self.opts.verbose_name_plural)}
        return super().changelist_view(request, {**title, **(extra_context or {})})

    @unless_unavailable
    def change_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return super().change_view(request, *args, **kwargs)

    @unless_unavailable
    def history_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return super().history_view(request, *args, **kwargs)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
