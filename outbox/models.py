"""Models without tables: what the admin hangs permissions, menu and pages on.

The messages are in MongoDB; `outbox.pending` and `outbox.dispatched` read them. Nothing here is
ever stored or queried through Django's ORM.
"""

from django.db import models


class Message(models.Model):
    """The fields of a message, as `message_store.StoredMessage` has them."""

    event_id = models.CharField(max_length=255)
    type = models.CharField(max_length=255)
    version = models.CharField(max_length=255)
    topic = models.CharField(max_length=255)
    collection = models.CharField(max_length=255)
    aggregate_id = models.CharField(max_length=255)
    sequence = models.PositiveBigIntegerField()
    occurred_at = models.DateTimeField()
    payload = models.TextField()
    metadata = models.JSONField()

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.type} {self.event_id}"


class PendingMessage(Message):
    """A message that waits in its aggregate's document; `key` says where it lies."""

    key = models.CharField(max_length=1000, primary_key=True)
    due_at = models.DateTimeField()
    attempts = models.PositiveIntegerField()
    last_error = models.TextField()

    class Meta:
        managed = False
        default_permissions = ("view",)
        verbose_name = "pending message"


class DispatchedMessage(Message):
    """A message that was published, from the archive."""

    event_id = models.CharField(max_length=255, primary_key=True)
    dispatched_at = models.DateTimeField()

    class Meta:
        managed = False
        default_permissions = ("view",)
        verbose_name = "dispatched message"
