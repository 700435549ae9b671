"""Views of what operators do to messages: retry, discard, replay; each by `outbox.operations`.

Each needs its own permission, also to be tried as a dry run, is written to the admin's log, and has
one effect if it is sent twice under one `Idempotency-Key`.
"""

from collections.abc import Callable
from typing import Any, ClassVar

from django.db.models import Model
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import extend_schema_view
from pydantic import RootModel
from rest_framework.request import Request
from rest_framework.response import Response

from outbox import admin_log, models, operations
from outbox.api import selections
from outbox.api.answers import OperationAnswer
from outbox.api.base import OutboxView
from outbox.api.headers import Idempotency
from outbox.api.permissions import MayOperate
from outbox.api.repeats import done_once
from outbox.api.schema import operation
from outbox.api.selections import validated_choice
from outbox.message_store import Selection
from outbox.operations import Done

CHOICE = "Staff with the permission `{}` only. Those that `ids` names, or all that match. "


class NeedsBody(AutoSchema):
    """Describes a body as required, also where it is one of two kinds."""

    def get_operation(self, *args: Any, **kwargs: Any) -> dict[str, Any] | None:
        described: dict[str, Any] | None = super().get_operation(*args, **kwargs)
        if described and "requestBody" in described:
            described["requestBody"]["required"] = True
        return described


class OperationView(OutboxView):
    """One operation on messages; a subclass says which, and on what.

    `needs` is the permission, `run` the function that does it, `kind` the list that it is about,
    and `done` its name in the admin's log.
    """

    schema = NeedsBody()
    permission_classes = (MayOperate,)

    needs: ClassVar[str]
    body: ClassVar[type[RootModel[Any]]]
    run: ClassVar[Callable[..., Done]]
    kind: ClassVar[operations.Kind]
    model: ClassVar[type[Model]]
    done: ClassVar[str]

    def post(self, request: Request) -> Response:
        asked = validated_choice(self.body, request)
        once = Idempotency.of(request, asked)
        if asked.dry_run:
            return _answer(self._would_be(asked), dry_run=True)
        by, reason = request.user.get_username(), getattr(asked, "reason", "")
        done = done_once(
            once, lambda: self._operate(request, asked), action=self.done, by=by, reason=reason
        )
        return _answer(done, dry_run=False)

    def _would_be(self, asked: selections.Operation) -> Done:
        what = asked.what()
        count, is_all = operations.count(self.kind, what, operations.MOST)
        missed = 0 if isinstance(what, Selection) else len(what) - count
        return Done(count, missed, not is_all)

    def _operate(self, request: Request, asked: selections.Operation) -> Done:
        by, reason = request.user.get_username(), getattr(asked, "reason", "")
        more = {"reason": reason} if reason else {}
        done = type(self).run(asked.what(), by=by, most=operations.MOST, **more)
        # Dying here: it is done, and noted in the application's log but not in the admin's.
        admin_log.record_done(
            request.user,
            self.done,
            self.model,
            done.ids,
            count=done.count,
            which=asked.words(),
            reason=reason,
            way="Over the API",
        )
        return done


def _answer(done: Done, *, dry_run: bool) -> Response:
    answer = OperationAnswer(**done._asdict(), dry_run=dry_run)
    return Response(answer.model_dump(mode="json"))


def _documented(operation_id: str, summary: str, description: str, view: Any) -> Any:
    described = operation(
        operation_id,
        summary,
        CHOICE.format(view.needs) + description,
        body=view.body,
        answer=OperationAnswer,
    )
    return extend_schema_view(post=described)(view)


class PendingRetry(OperationView):
    needs = "outbox.retry_pendingmessage"
    body = selections.RetryPending
    run = staticmethod(operations.retry)
    kind = "pending"
    model = models.PendingMessage
    done = "Retried"


class PendingDiscard(OperationView):
    needs = "outbox.discard_pendingmessage"
    body = selections.DiscardPending
    run = staticmethod(operations.discard)
    kind = "pending"
    model = models.PendingMessage
    done = "Discarded"


class DispatchedReplay(OperationView):
    needs = "outbox.replay_dispatchedmessage"
    body = selections.ReplayDispatched
    run = staticmethod(operations.replay)
    kind = "dispatched"
    model = models.DispatchedMessage
    done = "Replayed"


class DeadLetterReplay(OperationView):
    needs = "outbox.replay_deadletter"
    body = selections.ReplayDeadLetters
    run = staticmethod(operations.replay_dead_letters)
    kind = "dead_letters"
    model = models.DeadLetter
    done = "Replayed"


class DeadLetterDiscard(OperationView):
    needs = "outbox.discard_deadletter"
    body = selections.DiscardDeadLetters
    run = staticmethod(operations.discard_dead_letters)
    kind = "dead_letters"
    model = models.DeadLetter
    done = "Discarded"


_documented(
    "retry_pending_messages",
    "Have messages tried again now",
    "They count as never tried, and so do those that they wait for.",
    PendingRetry,
)
_documented(
    "discard_pending_messages",
    "Give messages up",
    "A tombstone is published in the place of each, and the message kept for a while.",
    PendingDiscard,
)
_documented(
    "replay_dispatched_messages",
    "Publish messages again",
    "As they were, to their own topics: who has handled one takes it for a repeat.",
    DispatchedReplay,
)
_documented(
    "replay_dead_letters",
    "Have subscribers try events again",
    "Only the subscriber that couldn't handle it tries each, at once.",
    DeadLetterReplay,
)
_documented(
    "discard_dead_letters",
    "Give up on events",
    "Who did it and why is kept with each.",
    DeadLetterDiscard,
)
