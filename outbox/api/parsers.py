"""The parser: JSON objects, read strictly and no further than they may be long."""

import json
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import IO, Any

from django.conf import settings
from rest_framework.exceptions import APIException, ParseError
from rest_framework.parsers import BaseParser

#: How many times the allowed length is read and thrown away before the refusal is sent: a client
#: that is still sending when the connection closes never sees the answer.
DRAINED = 16
CHUNK = 64 * 1024


class ContentTooLarge(APIException):
    """413."""

    status_code = 413
    default_detail = "The request's body is too large."


class BoundedJSONParser(BaseParser):
    """Parses a JSON object of at most `DATA_UPLOAD_MAX_MEMORY_SIZE` bytes of UTF-8.

    Counts the bytes that come, whatever `Content-Length` says. A number with a point or an exponent
    becomes a `Decimal`, to the last digit. Refuses what RFC 8259 doesn't know (`NaN`), what its
    readers disagree on (a name twice in an object) and what isn't text (half a surrogate pair).
    """

    media_type = "application/json"

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        try:
            parsed = json.loads(
                _read(stream).decode(),
                parse_float=_decimal,
                parse_constant=_refuse,
                object_pairs_hook=_object,
            )
            # Fails where a text can't be encoded, and so neither stored nor answered with.
            json.dumps(parsed, ensure_ascii=False, default=str).encode()
        except OSError:
            raise ParseError("The request's body could not be read to its end.") from None
        except (ValueError, RecursionError) as error:
            raise ParseError(f"The request's body is not JSON: {_reason(error)}.") from None
        if not isinstance(parsed, dict):
            raise ParseError("The request's body is not a JSON object.")
        return parsed


def _read(stream: IO[bytes]) -> bytes:
    limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    if limit is None:
        return stream.read()
    body = bytearray()
    while chunk := stream.read(CHUNK):
        body += chunk
        if len(body) > limit:
            drained = 0
            while drained < DRAINED * limit and (chunk := stream.read(CHUNK)):
                drained += len(chunk)
            raise ContentTooLarge()
    return bytes(body)


def _decimal(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise ValueError("a number is too large") from None


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not a number")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("an object has a name twice")
    return made


def _reason(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at line {error.lineno}, column {error.colno}"
    if isinstance(error, UnicodeError):
        return "it is not UTF-8"
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
