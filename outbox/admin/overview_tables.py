"""The overview's tables: who publishes, who handles, and how far they are, in words."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from outbox.admin.display import distance, duration
from outbox.admin.figures import Addresses, address
from outbox.monitoring import Held, Overview, SubscriberState

UNKNOWN = "not known"


def tables(state: Overview, addresses: Addresses) -> dict[str, list[dict[str, Any]]]:
    """The rows of each table, as the template names them."""
    return {
        "subscribers": [_subscriber(one, addresses) for one in state.subscribers],
        "topics": [
            {
                "name": one.name,
                "minute": f"{one.published_per_minute:,}",
                "published": f"{one.published:,}",
                "entries": _number(one.entries),
            }
            for one in state.topics
        ],
        "processes": processes(state),
        "breakers": [
            {**one._asdict(), "since": distance(one.since, state.at)} for one in state.breakers
        ],
    }


def processes(state: Overview) -> list[dict[str, Any]]:
    """Who was seen lately, or holds a lease; a holder that isn't seen may be a dead one."""
    held = _held(state.leases, state.at)
    seen = {one.name: one for one in state.processes}
    return [
        {
            "name": name,
            "roles": [_role(role) for role in sorted(seen[name].roles)] if name in seen else [],
            "leases": held.get(name, []),
            "seen": distance(seen[name].seen_at, state.at) if name in seen else "not lately",
        }
        for name in sorted({*seen, *held})
    ]


def _subscriber(one: SubscriberState, addresses: Addresses) -> dict[str, Any]:
    more = "" if one.lag_is_exact else "at least "
    missing = f", {one.missing:,} of them behind missing ones" if one.missing else ""
    letters = address(addresses, "deadletter", {"subscriber": one.name})
    aside = address(addresses, "waitingevent", {"subscriber": one.name})
    return {
        "state": one,
        "lag": UNKNOWN if one.lag is None else f"{more}{one.lag:,}",
        "oldest": UNKNOWN if one.lag_seconds is None else _age(one),
        "unacknowledged": _number(one.unacknowledged),
        "deferred": f"{one.deferred:,}{missing}",
        "aside": aside if one.deferred else "",
        "dead_letters": f"{one.dead_letters:,}",
        "letters": letters if one.dead_letters else "",
        "processes": f"{one.consumers:,}",
    }


def _age(one: SubscriberState) -> str:
    """For how long the oldest event waits that the subscriber owes."""
    return duration(one.lag_seconds or 0) if one.lag or one.unacknowledged else "-"


def _number(value: int | None) -> str:
    return UNKNOWN if value is None else f"{value:,}"


def _held(leases: Iterable[Held], now: datetime) -> dict[str, list[str]]:
    """By process, its leases in words."""
    found: dict[str, list[str]] = defaultdict(list)
    for one in leases:
        left = duration((one.expires_at - now).total_seconds())
        found[one.holder].append(f"{_lease(one.name)}, for another {left}")
    return found


def _lease(name: str) -> str:
    kind, _, rest = name.partition(":")
    subject, _, place = rest.rpartition(":")
    match kind:
        case "relay":
            return f"partition {place} of {subject}"
        case "consumer":
            return f"{subject} on the stream {place}"
        case "rebuild":
            return f"the rebuild of {rest}"
    return name


def _role(role: str) -> str:
    kind, _, subscriber = role.partition(":")
    return f"consumes for {subscriber}" if kind == "consumer" else f"{kind}s"
