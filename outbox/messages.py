"""Messages: the commands, domain events and integration events of an application.

All three are frozen, keyword-only values, validated on construction. Each class states its
name and version, because both are stored and published, and a Python path is neither:

    class OrderPlaced(DomainEvent, name="OrderPlaced", version="1.0"):
        customer_id: str

The class of a message says who may rely on it: a command is a request to one handler, a domain
event is private to its aggregate's code, an integration event is a contract with others.
"""

from datetime import datetime
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, field_validator
from pydantic.alias_generators import to_camel


class Message(BaseModel):
    """A frozen value with an explicit type name and version. Unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    message_name: ClassVar[str]
    message_version: ClassVar[str]

    def __init_subclass__(
        cls, *, name: str | None = None, version: str = "1.0", **kwargs: Any
    ) -> None:
        super().__init_subclass__(**kwargs)
        if cls.__module__ == __name__:
            return
        if name is None:
            raise TypeError(
                f"{cls.__qualname__} needs an explicit name, which may never change once stored: "
                f'class {cls.__qualname__}({cls.__mro__[1].__name__}, name="{cls.__name__}")'
            )
        cls.message_name = name
        cls.message_version = version


class Command(Message):
    """A request, named in the imperative, for its one handler."""


class DomainEvent(Message):
    """A fact about one aggregate, named in the past tense, private to its own code.

    `occurred_at` (aware) is when it happened, where the aggregate knows: what is published then
    says so, in UTC and to the millisecond. Left out, it is the time of the write, by the database
    server's clock.
    """

    occurred_at: datetime | None = None

    @field_validator("occurred_at")
    @classmethod
    def _is_aware(cls, moment: datetime | None) -> datetime | None:
        if moment is not None and moment.utcoffset() is None:
            raise ValueError(f"{moment} has no time zone, so nobody can tell when that was")
        return moment


class IntegrationEvent(Message):
    """A fact told to others, under a versioned contract.

    Python names are snake_case and the published payload's are camelCase; both are accepted on
    construction, so that `model_validate_json` reads what `payload()` wrote.
    """

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)

    def payload(self) -> str:
        """The published payload: compact JSON text, camelCase, in the order of the fields."""
        return self.model_dump_json(by_alias=True)

    @classmethod
    def from_payload(cls, payload: str | bytes) -> Self:
        """The event that `payload` describes; raises `pydantic.ValidationError` otherwise."""
        return cls.model_validate_json(payload)
