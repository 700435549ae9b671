"""A document's fields as people read them: names in words, lists as tables, the rest as JSON."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from outbox.admin.display import json_value, moment, preformatted

#: Rows of a table that are shown; the document as it is stored has the others.
MOST_ROWS = 100


def rows(fields: Mapping[str, Any], now: datetime) -> list[tuple[str, str | SafeString]]:
    """(name, value) of each field, in the document's order."""
    return [(name.replace("_", " "), shown(value, now)) for name, value in fields.items()]


def shown(value: Any, now: datetime) -> str | SafeString:
    """One value."""
    match value:
        case None | "" | []:
            return "-"
        case bool():
            return "yes" if value else "no"
        case datetime():
            return moment(value, now)
        case list() if _is_table(value):
            return _table(value, now)
        case list() | dict():
            return preformatted(json_value(value))
    return str(value)


def _is_table(value: list[Any]) -> bool:
    """Whether these are rows: documents without others in them."""
    return all(
        isinstance(row, dict) and not any(isinstance(one, dict | list) for one in row.values())
        for row in value
    )


def _table(value: list[dict[str, Any]], now: datetime) -> SafeString:
    names = list(dict.fromkeys(name for row in value for name in row))
    head = format_html_join(
        "", '<th scope="col">{}</th>', ((name.replace("_", " "),) for name in names)
    )
    body = format_html_join(
        "",
        "<tr>{}</tr>",
        (
            (format_html_join("", "<td>{}</td>", ((shown(row.get(name), now),) for name in names)),)
            for row in value[:MOST_ROWS]
        ),
    )
    more = f"and {len(value) - MOST_ROWS} more" if len(value) > MOST_ROWS else ""
    return format_html(
        '<table class="outbox-rows"><thead><tr>{}</tr></thead><tbody>{}</tbody></table>{}',
        head,
        body,
        more,
    )
