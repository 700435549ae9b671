"""What Prometheus is told is what a count of the documents and streams says."""

import json
import threading
from collections import Counter

import pytest
from django.contrib.auth.models import User
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as plain
from prometheus_client.registry import DuplicateTimeseries
from rest_framework.authtoken.models import Token

from outbox import connections, metrics
from outbox.discovery import messaging, topics
from outbox.lease import Lease
from outbox.telemetry import telemetry
from tests.integration.outbox import living
from tests.integration.outbox.consuming import child, eventually


@pytest.fixture
def counted(mongo, redis, settings):
    """Nothing is counted yet; from now on everything is."""
    telemetry.flush()
    for name in ("outbox_statistics", "outbox_processes"):
        mongo[name].delete_many({})
    settings.OUTBOX_STATISTICS = True
    return mongo


def scraped():
    """Every sample's value, by its name and the values of its labels, which are sorted."""
    text = metrics.exposition("")[0].decode()
    samples = [sample for family in plain(text) for sample in family.samples]
    found = {(sample.name, *sample.labels.values()): sample.value for sample in samples}
    assert len(found) == len(samples)  # Prometheus takes no two of a kind
    return found


def by_label(samples, name):
    return {at[0]: value for (found, *at), value in samples.items() if found == name}


def test_under_load_in_several_processes_the_numbers_are_those_of_a_count(counted, redis, settings):
    mongo = counted
    living.prepare()
    redis.set(living.REFUSED, "no stream")
    children = [child(living.CHILD) for _ in range(2)]
    threads = [threading.Thread(target=living.work) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        eventually(lambda: redis.xlen("orders") > 50, within=60)
        for role in (("relay", ""), ("consumer", "letters")):
            eventually(lambda at=role: scraped()["outbox_processes", *at] == 3, within=30)
        redis.xadd("orders", {"event": "rubbish"})
        shipped, wanted = {"status": "shipped"}, 4 * living.ORDERS
        eventually(lambda: mongo["orders"].count_documents(shipped) == wanted, within=60)
        eventually(lambda: living.is_quiet(mongo, redis), within=60)
        often = {"outbox.pending.attempts": {"$gte": settings.OUTBOX_STUCK_AFTER}}
        eventually(
            lambda: any(mongo[name].find_one(often) for name in ("orders", "stock")), within=60
        )
        copies = [
            fields for _, fields in redis.xrange("orders", count=30) if b"{" in fields[b"event"]
        ]
        for fields in copies:
            redis.xadd("orders", fields)
        eventually(lambda: living.is_quiet(mongo, redis), within=60)
    finally:
        redis.set(living.FINISHED, "1")
        for one in threads:
            one.join(60)
        for one in children:
            one.communicate(timeout=60)
    telemetry.flush()

    samples = scraped()
    documents = [*mongo["orders"].find(), *mongo["stock"].find()]
    pending = [entry for one in documents for entry in one["outbox"]["pending"]]
    tried = [entry for entry in pending if entry.get("attempts")]
    stuck = [entry for entry in tried if entry["attempts"] >= settings.OUTBOX_STUCK_AFTER]
    assert stuck
    assert samples["outbox_pending_messages",] == len(pending)
    assert samples["outbox_stuck_messages",] == len(stuck)
    oldest = min(entry["occurred_at"] for entry in pending)
    age = (documents_time(mongo) - oldest).total_seconds()
    assert samples["outbox_oldest_pending_age_seconds",] == pytest.approx(age, abs=5)

    stored, refused = Counter(), Counter()
    for one in documents:
        stored.update(one["outbox"]["sequences"])
    for entry in tried:
        refused[entry["topic"]] += entry["attempts"]
    assert by_label(samples, "outbox_messages_stored_total") == all_of(topics(), stored)
    assert by_label(samples, "outbox_messages_refused_total") == all_of(topics(), refused)
    assert by_label(samples, "outbox_messages_stuck_total") == all_of(
        topics(), Counter(entry["topic"] for entry in stuck)
    )

    published, entries = {}, Counter()
    for topic in topics():
        published[topic] = {}
        for stream in living.streams_of(topic):
            entries[topic] += redis.xlen(stream)
            for _, fields in redis.xrange(stream):
                if fields[b"event"] != b"rubbish":
                    event = json.loads(fields[b"event"])
                    published[topic][event["eventId"]] = event
    numbers = {topic: len(events) for topic, events in published.items()}
    assert sum(numbers.values()) == sum(stored.values()) - len(pending) > 400
    assert by_label(samples, "outbox_messages_published_total") == all_of(topics(), numbers)
    assert by_label(samples, "outbox_commit_to_publish_seconds_count") == {
        topic: number for topic, number in numbers.items() if number
    }
    assert samples["outbox_batch_messages_sum", "orders"] == sum(numbers.values())
    assert by_label(samples, "outbox_stream_entries") == all_of(topics(), entries)

    letters = list(mongo["outbox_dead_letters"].find())
    dead = Counter(one["subscriber"] for one in letters)
    names = messaging().subscribes
    assert dead["letters"] > dead["customer-orders"] == 1  # poison, and the rubbish
    assert by_label(samples, "outbox_dead_letters") == all_of([*names, "other"], dead)
    assert by_label(samples, "outbox_events_dead_lettered_total") == all_of(names, dead)
    failures = Counter()
    for one in letters:
        failures[one["subscriber"]] += one["attempts"] - 1
    assert by_label(samples, "outbox_event_failures_total") == all_of(names, failures)
    handled = {}
    for name, subscriber in names.items():
        events = published[subscriber.topic]
        given_up = {one["event_id"] for one in letters if one["subscriber"] == name}
        types = {handler.message_name for handler in subscriber.handlers}
        handled[name] = sum(
            event["eventType"] in types and event_id not in given_up
            for event_id, event in events.items()
        )
    assert handled["customer-orders"] > 200
    assert by_label(samples, "outbox_events_handled_total") == all_of(names, handled)
    for since in ("commit", "publish"):
        counts = by_label(samples, f"outbox_{since}_to_handled_seconds_count")
        assert counts == {name: number for name, number in handled.items() if number}
    repeats = dict.fromkeys(["customer-orders", "letters"], len(copies))
    assert by_label(samples, "outbox_events_repeated_total") == all_of(names, repeats)
    assert by_label(samples, "outbox_lag_events") == all_of(names, {})
    assert by_label(samples, "outbox_unacknowledged_events") == all_of(names, {})
    assert by_label(samples, "outbox_deferred_events") == all_of(names, {})


def all_of(names, numbers):
    return {name: numbers.get(name, 0) for name in names}


def documents_time(mongo):
    return mongo.command("hello", codec_options=mongo.codec_options)["localTime"]


def test_a_histogram_is_cumulative_and_its_last_bucket_counts_all(counted):
    telemetry.observe("publish_seconds", "orders", [0.001, 0.02, 0.02, 7, 10_000])
    telemetry.flush()
    samples = scraped()
    name = "outbox_commit_to_publish_seconds"
    buckets = {le: samples[f"{name}_bucket", le, "orders"] for le in ("0.005", "0.025", "10.0")}
    assert buckets == {"0.005": 1, "0.025": 3, "10.0": 4}
    assert samples[f"{name}_bucket", "1800.0", "orders"] == 4
    assert samples[f"{name}_bucket", "+Inf", "orders"] == samples[f"{name}_count", "orders"] == 5
    assert samples[f"{name}_sum", "orders"] == pytest.approx(10_007.041)


def test_what_is_known_is_0_before_anything_happens(counted):
    samples = scraped()
    for name in messaging().subscribes:
        assert samples["outbox_events_handled_total", name] == 0
        assert samples["outbox_dead_letters", name] == 0
        assert samples["outbox_breaker_state", name] == 0
        assert samples["outbox_processes", "consumer", name] == 0
    for topic in topics():
        assert samples["outbox_messages_published_total", topic] == 0
    assert samples["outbox_processes", "relay", ""] == 0
    assert samples["outbox_lease_held", "relay", "relay:orders:0"] == 0
    assert ("outbox_relay_seen_seconds",) not in samples


def test_the_breakers_state_is_the_worst_and_leases_have_their_holders(counted):
    telemetry.alive("relay")
    telemetry.breaker("letters", "open")
    telemetry.flush()
    this = counted["outbox_processes"].find_one()
    closed = {"letters": {"state": "closed", "at": this["seen_at"]}}
    for host in ("a", "z"):
        counted["outbox_processes"].insert_one(
            {**this, "_id": host, "host": host, "breakers": closed}
        )
    lease = Lease(connections.database(), "consumer:letters:orders", 5)
    assert lease.acquire()
    samples = scraped()
    assert samples["outbox_breaker_state", "letters"] == 2
    assert samples["outbox_breaker_state", "relay"] == 0
    assert samples["outbox_processes", "relay", ""] == 3
    assert samples["outbox_relay_seen_seconds",] >= 0
    assert samples["outbox_lease_held", "consumer", "consumer:letters:orders"] == 1
    assert samples["outbox_lease_held", "consumer", "consumer:customer-orders:orders"] == 0
    assert samples["outbox_lease_holders", "consumer"] == 1


def test_dead_letters_of_a_subscriber_that_is_no_more_are_counted_as_others(counted):
    counted["outbox_dead_letters"].insert_one({"_id": "x:1", "subscriber": "x", "state": "dead"})
    assert scraped()["outbox_dead_letters", "other"] == 1


def test_without_statistics_nothing_is_said_of_what_they_would_tell(counted, settings):
    settings.OUTBOX_STATISTICS = False
    names = {name for name, *_ in scraped()}
    assert "outbox_pending_messages" in names
    assert (
        not {
            *("outbox_processes", "outbox_breaker_state", "outbox_messages_published_total"),
        }
        & names
    )


def test_a_store_that_is_away_is_said_and_nothing_old_is_told(counted, settings, client):
    settings.ANONYMOUS_ACCESS = ["metrics"]
    assert len(scraped()) > 50
    there = settings.OUTBOX_MONGODB_URI
    settings.OUTBOX_MONGODB_URI = "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=200"
    settings.OUTBOX_MONGODB_TIMEOUT = 0.5
    response = client.get("/metrics")
    assert response.status_code == 200
    samples = [line for line in response.text.splitlines() if not line.startswith("#")]
    assert samples == ["outbox_up 0.0"]
    settings.OUTBOX_MONGODB_URI = there
    assert scraped()["outbox_up",] == 1


def test_a_store_that_hangs_keeps_a_scrape_waiting_only_so_long(counted, monkeypatch):
    hangs = threading.Event()
    monkeypatch.setattr(metrics.monitoring, "overview", lambda: hangs.wait(30))
    monkeypatch.setattr(metrics, "PATIENCE", 0.2)
    try:
        assert scraped() == {("outbox_up",): 0}
    finally:
        hangs.set()


def test_of_a_broker_that_is_away_there_are_no_numbers(counted, settings):
    settings.OUTBOX_REDIS_URL = "redis://127.0.0.1:1/0"
    samples = scraped()
    assert (samples["outbox_up",], samples["outbox_broker_up",]) == (1, 0)
    names = {name for name, *_ in samples}
    assert not {"outbox_lag_events", "outbox_lag_seconds", "outbox_stream_entries"} & names


def test_a_scrape_costs_the_same_however_much_there_is(counted, commands, monkeypatch):
    def cost():
        commands.clear()
        scraped()
        pairs = [(e.command_name, e.command.get(e.command_name)) for e in commands.events]
        # Without what telemetry's own thread writes meanwhile, and the clock asks.
        return [pair for pair in pairs if pair[0] in ("find", "aggregate")]

    few = cost()
    living.prepare()
    for _ in range(20):
        living.order("ann")
    assert cost() == few
    assert len(few) < 20


def test_another_registry_can_have_the_collector_and_finds_its_names_taken(settings):
    # Registering asks no server: there is none here.
    settings.OUTBOX_MONGODB_URI = "mongodb://127.0.0.1:1/"
    registry = CollectorRegistry(auto_describe=True)
    registry.register(metrics.OutboxCollector())
    with pytest.raises(DuplicateTimeseries, match="outbox_pending_messages"):
        registry.register(metrics.OutboxCollector())


def test_both_of_prometheus_formats_are_spoken(counted, client, settings):
    settings.ANONYMOUS_ACCESS = ["metrics"]
    telemetry.count("published", "orders", 3)
    telemetry.flush()
    for accept, parse, kind in (
        ("application/openmetrics-text;version=1.0.0", openmetrics, "application/openmetrics-text"),
        ("*/*", plain, "text/plain"),
    ):
        response = client.get("/metrics", headers={"accept": accept})
        assert response["Content-Type"].startswith(kind)
        assert "no-store" in response["Cache-Control"]
        families = {one.name: one for one in parse(response.text)}
        assert families["outbox_messages_published"].type == "counter"


@pytest.mark.django_db
class TestAccess:
    @pytest.fixture(autouse=True)
    def _servers(self, counted):
        pass

    @pytest.fixture
    def users(self):
        return {
            "staff": User.objects.create_user("ann", is_staff=True),
            "customer": User.objects.create_user("bob"),
            "gone": User.objects.create_user("eve", is_staff=True, is_active=False),
        }

    def test_nobody_in_particular_is_refused(self, client):
        response = client.get("/metrics")
        assert (response.status_code, response["WWW-Authenticate"]) == (401, "Token")
        assert response.content == b""

    @pytest.mark.parametrize(("who", "status"), [("staff", 200), ("customer", 403), ("gone", 401)])
    def test_staff_alone_may_by_token_and_by_session(self, client, users, who, status):
        token = Token.objects.create(user=users[who])
        by_token = client.get("/metrics", headers={"authorization": f"Token {token.key}"})
        assert by_token.status_code == status
        client.force_login(users[who])
        assert client.get("/metrics").status_code == status

    @pytest.mark.parametrize("given", ["Token", "Token ", "Token x", "Bearer x", "Basic YTpi"])
    def test_what_is_no_token_is_refused(self, client, given):
        assert client.get("/metrics", headers={"authorization": given}).status_code == 401

    def test_who_may_read_may_not_write(self, client, users):
        client.force_login(users["staff"])
        assert client.post("/metrics").status_code == 405

    def test_a_setting_opens_them_to_anyone(self, client, settings):
        settings.ANONYMOUS_ACCESS = ["metrics"]
        assert client.get("/metrics").status_code == 200
        assert client.head("/metrics").status_code == 200
