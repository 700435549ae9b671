import pytest

from outbox.streams import stream_of, streams_of


@pytest.mark.parametrize(
    "topics", [{}, {"notes": {"partitions": 3}}, {"orders": {"partitions": 1}}]
)
def test_a_topic_without_partitions_is_the_stream_of_its_own_name(settings, topics):
    settings.OUTBOX_TOPICS = topics
    assert stream_of("orders", "a") == "orders"
    assert streams_of("orders") == ["orders"]


def test_a_topic_with_partitions_has_a_stream_for_each(settings):
    settings.OUTBOX_TOPICS, settings.OUTBOX_STREAM_PREFIX = {"orders": {"partitions": 3}}, "shop:"
    assert streams_of("orders") == ["shop:orders.0", "shop:orders.1", "shop:orders.2"]
    assert streams_of("notes") == ["shop:notes"]


def test_an_aggregates_stream_is_one_of_its_topics_and_each_has_its_share(settings):
    settings.OUTBOX_TOPICS = {"orders": {"partitions": 8}}
    found = [stream_of("orders", f"order-ü{number}") for number in range(1000)]
    assert found == [stream_of("orders", f"order-ü{number}") for number in range(1000)]
    assert set(found) == set(streams_of("orders"))
    assert all(found.count(stream) > 60 for stream in set(found))


def test_which_partition_is_stable_for_ever(settings):
    """Other readers, in other languages, may compute it: CRC-32 of the id's UTF-8."""
    settings.OUTBOX_TOPICS = {"orders": {"partitions": 1024}}
    assert stream_of("orders", "6f0c-ü") == "orders.419"
