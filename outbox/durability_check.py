"""A system check for deployment: says what a crash of Redis would lose, as it is configured now.

`manage.py check --deploy` asks the server that `OUTBOX_REDIS_URL` names. What it says is for
operators; each finding has an id of its own (see `outbox.checks`), so that one that is accepted can
be silenced.
"""

from typing import Any

from django.core.checks import CheckMessage, Error, Warning
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string
from redis.exceptions import RedisError

from outbox import connections
from outbox.conf import conf
from outbox.publishers.redis import RedisStreamPublisher

#: Seconds that the server is given for its answers.
PATIENCE = 2.0

CONFIGURED = ("appendfsync", "save", "min-replicas-to-write")

NOTHING_LOST = "Set `appendonly yes` and `appendfsync always`"


def check_durability(**kwargs: Any) -> list[CheckMessage]:
    """Check how much of what Redis acknowledges is there after a crash."""
    if not _publishes_to_redis():
        return []
    try:
        info, *configured, waitaof = _answers()
    except (RedisError, ImproperlyConfigured) as error:  # the address may be none
        return [_unseen(f"Redis couldn't be asked: {error}")]
    if isinstance(info, RedisError):
        return [_unseen(f"Redis doesn't tell what it keeps (INFO): {info}")]
    settings = {
        name: found.get(name) if isinstance(found, dict) else None
        for name, found in zip(CONFIGURED, configured, strict=True)
    }
    return [
        *_persistence(info, settings),
        *_eviction(info),
        *_wanted(info, settings, has_waitaof=not isinstance(waitaof, RedisError)),
    ]


def _answers() -> list[Any]:
    pipeline: Any = connections.redis_client(PATIENCE).pipeline(transaction=False)
    pipeline.info()
    for name in CONFIGURED:
        pipeline.config_get(name)
    pipeline.execute_command("WAITAOF", 0, 0, 1)
    answers: list[Any] = pipeline.execute(raise_on_error=False)
    return answers


def _publishes_to_redis() -> bool:
    try:
        publisher = import_string(conf.PUBLISHER)
    except ImportError:
        return False  # outbox.E003
    return isinstance(publisher, type) and issubclass(publisher, RedisStreamPublisher)


def _persistence(info: dict[str, Any], settings: dict[str, str | None]) -> list[CheckMessage]:
    save, policy = settings["save"], settings["appendfsync"]
    if not info.get("aof_enabled"):
        if save == "":
            return [
                Error(
                    "Redis keeps nothing: a crash or a restart loses every event on its streams "
                    "that a consumer hasn't handled yet, and the groups.",
                    hint=f"{NOTHING_LOST}.",
                    id="outbox.E006",
                )
            ]
        unseen = "" if save else " (It doesn't let the outbox see whether it makes any: CONFIG.)"
        return [
            Warning(
                "Redis has no append-only file, at most snapshots: a crash loses the events that "
                f"came since the last one, often many minutes of them.{unseen}",
                hint=f"{NOTHING_LOST}.",
                id="outbox.W005",
            )
        ]
    if policy is None:
        return [
            _unseen(
                "Redis has an append-only file, but doesn't let the outbox see when it is written "
                "to the disk (CONFIG GET appendfsync): a crash may lose the last second or two."
            )
        ]
    if policy == "everysec":
        return [
            Warning(
                "Redis writes its append-only file to the disk once a second: a crash of the "
                "machine loses about the last second or two, and one of Redis alone can lose what "
                "it had put off writing while it waited for the disk.",
                hint="Set `appendfsync always`, if that matters.",
                id="outbox.W006",
            )
        ]
    if policy == "no":
        return [
            Warning(
                "Redis leaves it to the system when its append-only file gets to the disk: a crash "
                "of Redis loses nothing, one of the machine what wasn't written, perhaps 30 s.",
                hint="Set `appendfsync always`, if that matters.",
                id="outbox.W007",
            )
        ]
    return []


def _eviction(info: dict[str, Any]) -> list[CheckMessage]:
    policy = str(info.get("maxmemory_policy", ""))
    if not policy.startswith("allkeys"):
        return []
    return [
        Error(
            f"Redis deletes whole streams when its memory is full (maxmemory-policy {policy}).",
            hint="Set `maxmemory-policy noeviction`: then messages wait in MongoDB instead.",
            id="outbox.E007",
        )
    ]


def _wanted(
    info: dict[str, Any], settings: dict[str, str | None], *, has_waitaof: bool
) -> list[CheckMessage]:
    """What `OUTBOX_REDIS_DURABILITY` asks for and this server doesn't do: nothing is published."""
    wanted, problems = conf.REDIS_DURABILITY or {}, []
    replicas = max(wanted.get("replicas", 0), wanted.get("aof", 0) - 1)
    if "aof" in wanted and not has_waitaof:
        problems.append("this server has no WAITAOF: use Redis 7.2 or later or Valkey")
    elif "aof" in wanted and not info.get("aof_enabled"):
        problems.append("its append-only file is off: set `appendonly yes`")
    elif "aof" in wanted and settings["appendfsync"] == "no":
        problems.append("with `appendfsync no` WAITAOF is never satisfied: set `always`")
    if (connected := info.get("connected_slaves", 0)) < replicas:
        problems.append(f"it has {connected} replicas, and {replicas} are asked for")
    messages: list[CheckMessage] = [
        Error(
            f"With OUTBOX_REDIS_DURABILITY = {wanted!r} nothing is published: {one}.",
            id="outbox.E008",
        )
        for one in problems
    ]
    if "aof" in wanted and settings["appendfsync"] == "everysec":
        text = (
            'OUTBOX_REDIS_DURABILITY asks for "aof", and Redis 7.4 and Valkey answer WAITAOF '
            "before the disk has it while `appendfsync` is everysec."
        )
        messages.append(Warning(text, hint="Set `appendfsync always`.", id="outbox.W008"))
    if replicas and (least := settings["min-replicas-to-write"]) and int(least) < replicas:
        text = (
            f"Redis takes messages with {least} replicas (min-replicas-to-write), and "
            f"OUTBOX_REDIS_DURABILITY asks for {replicas}: one that was cut off goes on as if it "
            "were the primary."
        )
        hint = f"Set `min-replicas-to-write {replicas}`."
        messages.append(Warning(text, hint=hint, id="outbox.W009"))
    return messages


def _unseen(text: str) -> CheckMessage:
    return Warning(text, id="outbox.W004")
