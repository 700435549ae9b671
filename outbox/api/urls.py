"""Routes of the outbox's operators: `path("api/outbox/", include("outbox.api.urls"))`."""

from django.urls import path

from outbox.api import message_views, operation_views

# Ids may have a slash, and so come after the operations: no id is called like one of these.
urlpatterns = [
    path("overview/", message_views.Overview.as_view(), name="outbox-overview"),
    path("pending/", message_views.PendingMessages.as_view(), name="outbox-pending-list"),
    path("pending/retry/", operation_views.PendingRetry.as_view(), name="outbox-pending-retry"),
    path(
        "pending/discard/", operation_views.PendingDiscard.as_view(), name="outbox-pending-discard"
    ),
    path(
        "pending/<path:id>/", message_views.PendingMessage.as_view(), name="outbox-pending-detail"
    ),
    path("dispatched/", message_views.DispatchedMessages.as_view(), name="outbox-dispatched-list"),
    path(
        "dispatched/replay/",
        operation_views.DispatchedReplay.as_view(),
        name="outbox-dispatched-replay",
    ),
    path(
        "dispatched/<path:id>/",
        message_views.DispatchedMessage.as_view(),
        name="outbox-dispatched-detail",
    ),
    path("waiting/", message_views.WaitingEvents.as_view(), name="outbox-waiting-list"),
    path("dead-letters/", message_views.DeadLetters.as_view(), name="outbox-dead-letter-list"),
    path(
        "dead-letters/replay/",
        operation_views.DeadLetterReplay.as_view(),
        name="outbox-dead-letter-replay",
    ),
    path(
        "dead-letters/discard/",
        operation_views.DeadLetterDiscard.as_view(),
        name="outbox-dead-letter-discard",
    ),
    path(
        "dead-letters/<path:id>/",
        message_views.DeadLetter.as_view(),
        name="outbox-dead-letter-detail",
    ),
]
