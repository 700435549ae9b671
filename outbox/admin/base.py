"""What the lists and pages of messages and of dead letters have in common."""

from collections.abc import Iterable
from typing import Any, ClassVar

from django.contrib.admin import ShowFacets
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.utils import flatten_fieldsets, unquote
from django.contrib.admin.views.main import ChangeList
from django.contrib.auth import get_permission_codename
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.utils.text import capfirst

from outbox import message_store
from outbox.admin.actions import ask_or_do
from outbox.admin.change_list import Listing, MessageChangeList
from outbox.admin.display import described
from outbox.admin.fields import MessageFields
from outbox.admin.log import entries, log_page
from outbox.admin.operation import Operation
from outbox.admin.read_only import ReadOnlyAdmin
from outbox.admin.refused import Refused, unless_refused
from outbox.admin.unavailable import unless_unavailable
from outbox.message_store import Page, Selection


class MessageAdmin(MessageFields, ReadOnlyAdmin):
    """A list, a page for each, and what can be done to them; they can't be edited.

    A subclass says how they are read from the message store, and has an action for each of its
    operations: of the operation's name, and with the permission of that name.
    """

    search_fields: ClassVar[tuple[str, ...]] = (
        "aggregate_id",
        "event_id",
        "correlation_id",
        "type",
    )
    search_help_text = (
        "A whole aggregate id, event id, correlation id or type, exactly as it is written."
    )
    list_per_page = 50
    sortable_by = ()
    show_facets = ShowFacets.NEVER
    show_full_result_count = False
    change_form_template = "admin/outbox/message.html"
    change_list_template = "admin/outbox/message_list.html"
    object_history_template = "admin/outbox/history.html"

    #: What `operations.count` calls them.
    kind: str
    #: What can be done to them.
    operations: ClassVar[tuple[Operation, ...]]
    #: What the list says when it is empty, and when it ends before the messages do.
    nothing: str
    left_out: str

    class Media:
        css = {"all": ("outbox/admin.css",)}  # noqa: RUF012

    def find(self, selection: Selection, *, skip: int, limit: int) -> Page[Any]:
        """A page of messages, out of the store."""
        raise NotImplementedError

    def find_one(self, key: str) -> Any:
        """The one with this key, in full; None if there is none."""
        raise NotImplementedError

    def find_named(self, keys: Iterable[str]) -> list[Any]:
        """Those of these keys that there are, out of the store, as a list shows them."""
        raise NotImplementedError

    def key(self, message: Any) -> str:
        """What names one in the address of its page."""
        return str(message.key)

    def preview(self, what: Any) -> Any:
        """What there is to show before an operation on a selection, or on these keys."""
        return None

    def described(self, selection: Selection) -> str:
        """What a selection is of, in words."""
        return described(selection)

    def logged_as(self, message: Any) -> list[tuple[type[Any], str]]:
        """The models and keys under which the admin's log knows a message."""
        return [(self.model, message.pk)]

    def present(self, messages: list[Any]) -> list[Any]:
        """The messages as objects of the model, which know when they were read."""
        read_at = message_store.now() if messages else None
        fields = {field.name for field in self.opts.fields}
        objects = []
        for message in messages:
            given = {name: value for name, value in vars(message).items() if name in fields}
            one = self.model(**{**given, "pk": self.key(message)})
            one.read_at = read_at
            one.stored = message
            objects.append(one)
        return objects

    def get_queryset(self, request: HttpRequest) -> Any:
        return Listing(self.find, self.present)

    def get_search_results(
        self, request: HttpRequest, queryset: Any, search_term: str
    ) -> tuple[Any, bool]:
        return queryset.narrowed(term=search_term.strip()), False

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Any:
        found = self.find_one(object_id)
        return self.present([found])[0] if found else None

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return flatten_fieldsets(self.get_fieldsets(request, obj))

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return MessageChangeList

    def get_urls(self) -> list[Any]:
        name = f"{self.opts.app_label}_{self.opts.model_name}_log"
        return [
            path("log/", self.admin_site.admin_view(self.log_view), name=name),
            *super().get_urls(),
        ]

    @unless_refused
    @unless_unavailable
    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if request.method == "POST":
            named = request.POST.getlist("action")
            for operation in self.operations:
                if operation.name in named and not self.may(request, operation.name):
                    raise Refused(operation.name)
        title = {"title": capfirst(self.opts.verbose_name_plural)}
        return super().changelist_view(request, {**title, **(extra_context or {})})

    @unless_refused
    @unless_unavailable
    def change_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return super().change_view(request, *args, **kwargs)

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        one = context["original"]
        # Here, and not when the template asks for it: what fails is to fail where it is caught.
        self.complete(one)
        offered = [
            operation
            for operation in self.operations
            if self.may(request, operation.name) and self.can_be(operation, one)
        ]
        more = {"offered": offered, "action_checkbox_name": ACTION_CHECKBOX_NAME}
        return super().render_change_form(request, {**context, **more}, *args, **kwargs)

    def complete(self, message: Any) -> None:
        """Read what the page of a message shows beside it."""

    def can_be(self, operation: Operation, message: Any) -> bool:
        """Whether there is any use in it for this one."""
        return True

    def operate(self, request: HttpRequest, listing: Any, operation: Operation) -> HttpResponse:
        """What the action for an operation does."""
        return ask_or_do(self, request, listing, operation)

    @unless_refused
    @unless_unavailable
    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        one = self.get_object(request, unquote(object_id))
        known = entries(request, self.logged_as(one)) if one else {}
        context = {"media": self.media, **known, **(extra_context or {})}
        return super().history_view(request, object_id, context)

    @unless_refused
    def log_view(self, request: HttpRequest) -> HttpResponse:
        """What was done to all of these, by whom and why, the last first."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        return log_page(self, request)

    def may(self, request: HttpRequest, action: str) -> bool:
        """Whether somebody has the permission of this name."""
        codename = get_permission_codename(action, self.opts)
        return request.user.has_perm(f"{self.opts.app_label}.{codename}")
