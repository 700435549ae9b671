"""The fields of a message, as the lists and pages show them."""

from typing import Any
from urllib.parse import urlencode

from django.contrib.admin import display
from django.contrib.admin.views.main import SEARCH_VAR
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from outbox.admin.display import json_text, json_value, moment, preformatted

Fieldset = tuple[str | None, Any]

#: What both kinds have, first on their pages and last.
IDENTITY = ("type", "version", "event_id", "topic", "sequence", "aggregate", "collection")
CONTENT: tuple[Fieldset, ...] = (
    ("Payload", {"fields": ("payload_text",)}),
    ("Metadata", {"fields": ("correlation_id", "causation_id", "metadata_text")}),
)


class MessageFields:
    """Methods that a `ModelAdmin` names in its `list_display` and `fieldsets`."""

    admin_site: Any
    opts: Any

    @display(description="aggregate id")
    def aggregate_link(self, message: Any) -> SafeString:
        """The id; it leads to what this list has of the aggregate."""
        address = self._of_aggregate(self.opts.model_name, message.aggregate_id)
        return format_html('<a href="{}">{}</a>', address, message.aggregate_id)

    @display(description="aggregate id")
    def aggregate(self, message: Any) -> SafeString:
        """The id, with links to all messages of the aggregate."""
        return format_html(
            '{} <span class="outbox-links">all its messages:'
            ' <a href="{}">pending</a>, <a href="{}">dispatched</a></span>',
            message.aggregate_id,
            self._of_aggregate("pendingmessage", message.aggregate_id),
            self._of_aggregate("dispatchedmessage", message.aggregate_id),
        )

    @display(description="occurred at")
    def occurred(self, message: Any) -> SafeString:
        return moment(message.occurred_at, message.read_at)

    @display(description="payload")
    def payload_text(self, message: Any) -> SafeString:
        return preformatted(json_text(message.payload))

    @display(description="correlation id")
    def correlation_id(self, message: Any) -> str:
        return str(message.metadata.get("correlationId", ""))

    @display(description="causation id")
    def causation_id(self, message: Any) -> str:
        return str(message.metadata.get("causationId", ""))

    @display(description="as published")
    def metadata_text(self, message: Any) -> SafeString:
        return preformatted(json_value(message.metadata))

    def _of_aggregate(self, model: str, aggregate_id: str) -> str:
        address = reverse(f"admin:outbox_{model}_changelist", current_app=self.admin_site.name)
        return f"{address}?{urlencode({SEARCH_VAR: aggregate_id})}"
