"""The in-memory publisher: streams as lists, for tests and for a trial without a broker."""

from collections import defaultdict
from collections.abc import Sequence

from outbox.envelope import Envelope
from outbox.errors import PublishError
from outbox.publishers.base import Outcome, ToJson, envelope_function, framed
from outbox.streams import stream_of


class InMemoryPublisher:
    """Keeps what is published in `streams`: the envelope texts of each stream, in order.

    Topics named in `refused` fail, as a broker does that has no room or no permission for them.
    """

    def __init__(self) -> None:
        self.streams: defaultdict[str, list[str]] = defaultdict(list)
        self.refused: set[str] = set()

    def publish(self, groups: Sequence[Sequence[Envelope]]) -> list[Outcome]:
        to_json = envelope_function()
        return [self._publish_group(group, to_json) for group in groups]

    def _publish_group(self, group: Sequence[Envelope], to_json: ToJson) -> Outcome:
        texts, error = framed(group, to_json)
        for position, (envelope, text) in enumerate(zip(group, texts, strict=False)):
            if envelope.topic in self.refused:
                return Outcome(position, PublishError(f"{envelope.topic} is refused"))
            self.streams[stream_of(envelope.topic, envelope.aggregate_id)].append(text)
        return Outcome(len(texts), error)
