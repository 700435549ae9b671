"""Headers: which version of an aggregate a request is about, and whether it was sent before.

An aggregate's `ETag` is its version in quotes.
"""

import json
import re
from dataclasses import dataclass
from hashlib import sha256
from uuid import UUID, uuid5

from django.utils.http import parse_etags
from pydantic import BaseModel
from rest_framework.request import Request

from outbox.api.problems import InvalidRequest
from outbox.context import new_id

ETAG = re.compile(r'(?P<weak>W/)?"(?P<tag>[\x21\x23-\x7e]*)"')
VERSION = re.compile(r"[1-9][0-9]{0,17}")
NO_VERSION = -1

IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}")
REQUESTS = UUID("8e2f7a5c-0b57-4c8e-9a39-5f1f5a1f4d11")


def etag(version: int) -> str:
    """The strong `ETag` of an aggregate's version."""
    return f'"{version}"'


def expected_version(request: Request) -> int | None:
    """The version that `If-Match` insists on; None if it takes any.

    A tag that isn't strong, or that no version ever had, matches nothing: it becomes a version
    that no aggregate is at, so that a repeated request is still told from a stale one. Raises
    `InvalidRequest` for anything but one tag or `*`.
    """
    header = request.headers.get("If-Match")
    if header is None or header.strip() == "*":
        return None
    found = ETAG.fullmatch(header.strip())
    if found is None:
        detail = 'One entity tag in double quotes, like "3", or *.'
        raise InvalidRequest([{"header": "If-Match", "detail": detail}])
    if found["weak"] or not VERSION.fullmatch(found["tag"]):
        return NO_VERSION
    return int(found["tag"])


def not_modified(request: Request, version: int) -> bool:
    """Whether `If-None-Match` says that the client has this version already."""
    known = parse_etags(request.headers.get("If-None-Match", ""))
    return "*" in known or etag(version) in {tag.removeprefix("W/") for tag in known}


@dataclass(frozen=True, kw_only=True)
class Idempotency:
    """What tells a repeated request from a new one.

    With an `Idempotency-Key`, `message_id` is made of the user, the method, the path and the key,
    and `fingerprint` of the body. Without, every request is a new one.
    """

    message_id: str
    fingerprint: str | None

    @classmethod
    def of(cls, request: Request, body: BaseModel) -> "Idempotency":
        """Raises `InvalidRequest` unless the key is 1 to 255 visible ASCII characters."""
        key = request.headers.get("Idempotency-Key")
        if key is None:
            return cls(message_id=new_id(), fingerprint=None)
        if not IDEMPOTENCY_KEY.fullmatch(key):
            detail = "1 to 255 visible ASCII characters."
            raise InvalidRequest([{"header": "Idempotency-Key", "detail": detail}])
        user = None if request.user.pk is None else str(request.user.pk)
        scope = json.dumps([user, request.method, request.path, key])
        return cls(
            message_id=str(uuid5(REQUESTS, scope)),
            fingerprint=sha256(body.model_dump_json().encode()).hexdigest(),
        )
