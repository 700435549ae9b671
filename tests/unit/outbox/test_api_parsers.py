"""The parser, with streams that a test client can't send."""

from decimal import Decimal
from io import BytesIO

import pytest
from rest_framework.exceptions import ParseError

from outbox.api.parsers import BoundedJSONParser, ContentTooLarge


class Counted(BytesIO):
    """A stream that gives small pieces, and counts."""

    given = 0

    def read(self, size=-1):
        piece = super().read(min(size, 1000) if size >= 0 else size)
        self.given += len(piece)
        return piece


def parse(body):
    return BoundedJSONParser().parse(body if hasattr(body, "read") else BytesIO(body))


def of_length(length):
    return b'{"a": "%s"}' % (b"x" * (length - 9))


def test_numbers_are_exact():
    parsed = parse(b'{"a": 0.1, "b": 1e400, "c": 12345678901234567890.01, "d": 7}')

    assert parsed == {
        "a": Decimal("0.1"),
        "b": Decimal("1E+400"),
        "c": Decimal("12345678901234567890.01"),
        "d": 7,
    }
    assert type(parsed["d"]) is int


def test_text_of_any_script_is_kept():
    assert parse('{"a": "Grüße, 🦄", "b": "\\ud83e\\udd84"}'.encode()) == {
        "a": "Grüße, 🦄",
        "b": "🦄",
    }


def test_a_body_may_be_as_long_as_allowed_and_no_longer(settings):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 5000

    assert len(parse(Counted(of_length(5000)))["a"]) == 4991
    with pytest.raises(ContentTooLarge):
        parse(Counted(of_length(5001)))


def test_a_body_too_large_is_read_to_its_end_but_not_forever(settings):
    """A client that is still sending when it is refused would not see the answer."""
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 5000
    short, endless = Counted(of_length(50_000)), Counted(of_length(500_000))

    for stream in (short, endless):
        with pytest.raises(ContentTooLarge):
            parse(stream)

    assert short.given == 50_000
    assert 80_000 <= endless.given <= 90_000


def test_without_a_limit_any_length_is_read(settings):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = None

    assert len(parse(of_length(5_000_000))["a"]) == 4_999_991


def test_a_client_that_goes_away_while_sending_is_a_bad_request():
    class Broken:
        def read(self, size):
            raise OSError("connection reset")

    with pytest.raises(ParseError):
        parse(Broken())


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"a": 1,}', "line 1, column"),
        (b"\xff", "it is not UTF-8"),
        (b'{"a": "\\ud800"}', "it is not UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a": 1, "a": 2}', "a name twice"),
        (b'{"a": NaN}', "NaN is not a number"),
        (b'{"a": 1e999999999999999999999}', "too large"),
    ],
)
def test_a_refusal_says_what_is_wrong(body, reason):
    with pytest.raises(ParseError, match=reason):
        parse(body)
