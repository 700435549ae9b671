"""The fields of messages and of dead letters, as the lists and pages show them."""

from typing import Any

from django.contrib.admin import display
from django.utils.html import format_html
from django.utils.safestring import SafeString

from outbox.admin import links
from outbox.admin.display import json_text, json_value, moment, preformatted

Fieldset = tuple[str | None, Any]

#: What both kinds of messages have, first on their pages and last.
IDENTITY = (("type", "version"), "event_id", "aggregate", ("topic", "sequence", "collection"))
PAYLOAD: Fieldset = ("Payload", {"fields": ("payload_text",)})
#: Of a tombstone: what it stands for.
DISCARDED: Fieldset = (
    "Discarded before it was published",
    {"fields": ("discarded_at", "discarded_by", "reason", "discarded_payload")},
)
METADATA: Fieldset = ("Metadata", {"fields": ("metadata_text",), "classes": ("collapse",)})


class MessageFields:
    """Methods that a `ModelAdmin` names in its `list_display` and `fieldsets`."""

    admin_site: Any
    opts: Any

    @display(description="aggregate id")
    def aggregate_link(self, message: Any) -> SafeString | str:
        """The id, which leads to what this list has of the aggregate, and the number there."""
        if not message.aggregate_id:
            return ""
        return format_html(
            '<a href="{}">{}</a> <span class="outbox-place">number {} in {}</span>',
            links.search(self.admin_site, self.opts.model_name, message.aggregate_id),
            message.aggregate_id,
            message.sequence,
            message.topic,
        )

    @display(description="aggregate id")
    def aggregate(self, message: Any) -> SafeString:
        """The id, with links to all that there is of the aggregate."""
        site, its_id = self.admin_site, message.aggregate_id
        everything = links.everywhere(site, its_id, "all of this aggregate", links.BY_PLACE)
        # A dead letter doesn't know its aggregate's collection.
        address = links.aggregate_page(site, getattr(message, "collection", ""), its_id)
        if address is None:
            return everything
        return format_html('{}; <a href="{}">its own page</a>', everything, address)

    def in_words(self, message: Any) -> SafeString:
        """By what somebody knows one, and its id."""
        return format_html(
            '{}, number {} of {} in {}, occurred {} <span class="outbox-links">{}</span>',
            message.type,
            message.sequence,
            message.aggregate_id,
            message.topic,
            self.occurred(message),
            message.event_id,
        )

    @display(description="occurred at")
    def occurred(self, message: Any) -> SafeString:
        return moment(message.occurred_at, message.read_at)

    @display(description="payload")
    def payload_text(self, message: Any) -> SafeString:
        return preformatted(json_text(message.payload))

    @display(description="correlation id")
    def correlation_id(self, message: Any) -> SafeString:
        """The conversation's id, with links to all of it."""
        found = str(message.stored.metadata.get("correlationId", ""))
        return links.everywhere(self.admin_site, found, "all of it")

    @display(description="what caused what")
    def chain(self, message: Any) -> SafeString:
        """From the command, along the messages that led to this one, to those that it caused."""
        return links.chain(self.admin_site, message.stored, message.chain)

    @display(description="dead letters")
    def letters(self, message: Any) -> SafeString | str:
        """The subscribers that couldn't handle it."""
        return links.letters(self.admin_site, message.letters)

    @display(description="discarded at")
    def discarded_at(self, message: Any) -> SafeString | str:
        found = message.discarded
        return moment(found.discarded_at, message.read_at) if found else "not known any more"

    @display(description="by")
    def discarded_by(self, message: Any) -> str:
        return message.discarded.discarded_by if message.discarded else ""

    @display(description="reason")
    def reason(self, message: Any) -> str:
        return message.discarded.reason if message.discarded else ""

    @display(description="its payload was")
    def discarded_payload(self, message: Any) -> SafeString | str:
        found = message.discarded
        return preformatted(json_text(found.payload)) if found else ""

    @display(description="as published")
    def metadata_text(self, message: Any) -> SafeString:
        return preformatted(json_value(message.metadata))
