"""Orders in the admin: found by index, shown as they are, each beside the story of its messages."""

import re
from datetime import timedelta
from decimal import Decimal
from html import unescape

import pytest
from bson import Decimal128
from django.contrib.admin import site
from django.contrib.admin.utils import quote
from django.contrib.auth.models import Permission, User
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pymongo import IndexModel

from orders.admin import OrderAdmin
from orders.domain import commands as ask
from orders.domain.line import Line
from orders.models import Order
from orders.repository import OrderRepository
from outbox import clock, context, dead_letters, deferred, documents, story
from outbox.delivery import Delivery
from outbox.discovery import bus
from outbox.document import showing
from outbox.publishers.memory import InMemoryPublisher
from outbox.relay import Relay

ORDERS = "/admin/orders/order/"
MESSAGES = (
    *("view_pendingmessage", "view_dispatchedmessage"),
    *("view_waitingevent", "view_deadletter"),
)

pytestmark = pytest.mark.django_db


def person(name, *permissions):
    user = User.objects.create_user(name, password="secret", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return user


@pytest.fixture
def operator(client, mongo):
    client.force_login(person("operator", "view_order", *MESSAGES))
    return client


@pytest.fixture
def publisher():
    return InMemoryPublisher()


@pytest.fixture
def relay(mongo, publisher):
    """Publish what is due, of orders and of stock."""

    def relay():
        for collection in ("orders", "stock"):
            Relay(collection, publisher=publisher).sweep()

    return relay


def place(order_id, customer_id="cust-789", sku="WIDGET-01"):
    line = Line(sku=sku, quantity=2, unit_price=Decimal("49.99"))
    command = ask.PlaceOrder(
        order_id=order_id, customer_id=customer_id, currency="USD", lines=(line,)
    )
    bus().handle(command, message_id=f"place-{order_id}")


def text_of(response):
    content = response.content.decode().partition('id="content"')[2]
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", content)))


def listed(client, **parameters):
    response = client.get(ORDERS, parameters)
    assert response.status_code == 200
    return [one.pk for one in response.context["cl"].result_list]


def shown(client, order_id):
    response = client.get(f"{ORDERS}{quote(order_id)}/change/")
    assert response.status_code == 200
    return response


def story_of(response):
    return text_of(response).partition("Its messages")[2]


# -- The list --


def test_orders_are_listed_the_newest_first_with_what_matters(operator):
    for number in range(3):
        place(f"order-{number}")
    assert listed(operator) == ["order-2", "order-1", "order-0"]
    text = text_of(operator.get(ORDERS))
    assert "order-2 status: placed customer: cust-789 total: 99.98 USD placed: 2" in text


def test_orders_are_found_by_id_and_by_customer_and_by_nothing_less(operator):
    place("order-1")
    place("order-2", "cust-2")
    assert listed(operator, q="order-1") == ["order-1"]
    assert listed(operator, q=" cust-2 ") == ["order-2"]
    assert listed(operator, q="cust") == []
    assert listed(operator, q="$ne") == []


def test_orders_are_filtered_by_status_and_by_customer_together(operator):
    for number in range(4):
        place(f"order-{number}", f"cust-{number % 2}")
    bus().handle(ask.CancelOrder(order_id="order-0", reason="no"))
    assert listed(operator, status="cancelled") == ["order-0"]
    assert listed(operator, status="placed", customer_id="cust-0") == ["order-2"]
    assert listed(operator, q="cust-0", status="placed") == ["order-2"]
    assert listed(operator, q="order-0", status="placed") == []
    assert listed(operator, status="nonsense") == []
    assert listed(operator, total="99.98") == ["order-3", "order-2", "order-1", "order-0"]


def test_the_customer_of_an_order_leads_to_its_orders_and_shows_as_a_filter(operator):
    place("order-1")
    assert f'href="{ORDERS}?customer_id=cust-789"' in operator.get(ORDERS).content.decode()
    assert "By customer id" in text_of(operator.get(ORDERS, {"customer_id": "cust-789"}))
    assert "By customer id" not in text_of(operator.get(ORDERS))


def test_pages_follow_each_other_without_counting(operator):
    for number in range(55):
        place(f"order-{number:02}")
    assert listed(operator)[:2] == ["order-54", "order-53"]
    assert listed(operator, p=2) == [f"order-{number:02}" for number in range(4, -1, -1)]
    assert "Next" in text_of(operator.get(ORDERS))
    last = text_of(operator.get(ORDERS, {"p": 2}))
    assert "Previous" in last
    assert "Next" not in last


def test_empty_lists_say_so(operator):
    assert "There are no orders yet." in text_of(operator.get(ORDERS))
    assert "Nothing matches." in text_of(operator.get(ORDERS, {"q": "nobody"}))


# -- The page --


def test_an_order_is_shown_in_its_own_words_beside_the_folded_rest(operator):
    place("order-1")
    response = shown(operator, "order-1")
    text = text_of(response)
    assert "version 1 customer id cust-789 currency USD status placed" in text
    assert "sku quantity unit price WIDGET-01 2 49.99" in text
    assert "total 99.98" in text
    folded = response.content.decode().partition('<details id="outbox-kept">')[2]
    assert "orders: 1, orders-internal: 1" in folded
    assert "place-order-1" in folded
    fields = text.partition("As it is stored")[0]
    assert "partition" not in fields
    assert "place-order-1" not in fields


def test_the_page_leaves_payloads_and_answers_with_the_server_and_fingerprints_out(mongo):
    line = Line(sku="WIDGET-01", quantity=2, unit_price=Decimal("1"))
    command = ask.PlaceOrder(order_id="order-1", customer_id="c", currency="USD", lines=(line,))
    bus().handle(command, message_id="key#1", fingerprint="0" * 64)
    found = documents.one("orders", "order-1")
    assert "answers" not in found["outbox"]
    assert all("payload" not in entry for entry in found["outbox"]["pending"])
    assert showing.parts(found).handled == ["key#1"]


def test_the_story_begins_with_the_command_and_says_what_is_pending(operator):
    place("order-1")
    text = story_of(shown(operator, "order-1"))
    assert "2 pending" in text
    assert re.search(
        r"Command place-order-1 OrderPlaced orders no. 1 .* pending, due .* ago"
        r" InternalOrderPlaced orders-internal no. 1 .* pending",
        text,
    )


def test_a_dispatched_message_leads_to_its_page(operator, relay, mongo):
    place("order-1")
    relay()
    response = shown(operator, "order-1")
    assert "pending" not in story_of(response)
    assert re.search(r"OrderPlaced orders no. 1 .*? dispatched \d+ ms later", story_of(response))
    [event] = mongo.outbox_dispatched.find({"topic": "orders"})
    assert f"/admin/outbox/dispatchedmessage/{quote(event['_id'])}/change/" in (
        response.content.decode()
    )


def test_a_refused_message_shows_why_and_leads_to_its_page(operator, publisher, relay, settings):
    settings.OUTBOX_STUCK_AFTER = 1
    settings.OUTBOX_BACKOFF = settings.OUTBOX_BACKOFF_MAX = 1e6
    place("order-1")
    publisher.refused = {"orders"}
    relay()
    response = shown(operator, "order-1")
    text = story_of(response)
    assert "2 pending 1 stuck" in text
    assert re.search(r"pending, retry in [^,]+, 1 failed attempt: stuck orders is refused", text)
    assert "/admin/outbox/pendingmessage/" in response.content.decode()


def delivery_of(event):
    """An event of the archive as its subscribers are given it."""
    return Delivery(
        **{name: event[name] for name in ("type", "version", "topic", "aggregate_id", "sequence")},
        event_id=event["_id"],
        occurred_at=event["occurred_at"],
        payload=event["payload"],
        metadata=event["metadata"],
        text="{}",
    )


def put_aside(mongo, subscriber, event, **fields):
    """Have a subscriber wait for its next attempt, in 90 s."""
    at = clock.after(mongo, 90)
    deferred.put(subscriber, "orders", [delivery_of(event)], due_at=at, **fields)


def test_who_has_failed_on_an_event_stands_with_it_with_why_and_when_it_is_tried_again(
    operator, client, relay, mongo
):
    place("order-1")
    relay()
    event = mongo.outbox_dispatched.find_one({"topic": "orders"})
    put_aside(mongo, "letters", event, attempts=2, last_error="OSError: no mail-1")
    put_aside(mongo, "other", event, early=True)
    response = shown(operator, "order-1")
    text = story_of(response)
    assert text.startswith(", the first one first 1 failing ")
    assert re.search(
        r"OrderPlaced orders no. 1 .* waits for letters : 2 failed attempts, next try in 1 min "
        r"\d+ s OSError: no mail-1 waits for other : waits for its turn",
        text,
    )
    key = quote("letters:orders:order-1:1")
    assert f"/admin/outbox/waitingevent/{key}/change/" in response.content.decode()

    client.force_login(person("sales", "view_order"))
    page = shown(client, "order-1")
    assert "waits for letters: 2 failed attempts" in story_of(page)
    assert "mail-1" not in page.content.decode()
    assert "/admin/outbox/" not in page.content.decode()


def test_what_waits_leads_to_its_orders_own_page(operator, relay, mongo):
    place("order/1")
    relay()
    put_aside(mongo, "letters", mongo.outbox_dispatched.find_one({"topic": "orders"}))
    key = quote("letters:orders:order/1:1")
    page = operator.get(f"/admin/outbox/waitingevent/{key}/change/").content.decode()
    assert f'<a href="{ORDERS}{quote("order/1")}/change/">its own page</a>' in page


def test_what_waits_is_told_of_when_the_archive_has_it_no_more(operator, relay, mongo):
    place("order-1")
    relay()
    event = mongo.outbox_dispatched.find_one({"topic": "orders"})
    put_aside(mongo, "letters", event, attempts=2, last_error="OSError: no mail-1")
    mongo.outbox_dispatched.delete_one({"_id": event["_id"]})
    assert re.search(
        r"OrderPlaced orders no. 1 not kept any more waits for letters : 2 failed attempts",
        story_of(shown(operator, "order-1")),
    )


def test_dead_letters_stand_with_their_event_and_lead_to_their_pages(operator, relay, mongo):
    place("order-1")
    relay()
    event = mongo.outbox_dispatched.find_one({"topic": "orders"})
    delivery = delivery_of(event)
    dead_letters.store("letters", "orders", delivery, ValueError("no such street"), attempts=3)
    response = shown(operator, "order-1")
    text = story_of(response)
    assert "1 dead letter" in text
    assert (
        "dead letter of letters : dead after 3 failed attempts ValueError: no such street" in text
    )
    letter = quote(f"letters:{event['_id']}")
    assert f"/admin/outbox/deadletter/{letter}/change/" in response.content.decode()


def test_what_other_aggregates_did_stands_where_it_happened(operator, relay, mongo):
    bus().handle(ask.SetStock(sku="GADGET-01", on_hand=5))
    place("order-1", sku="GADGET-01")
    relay()
    deliver(mongo, "InternalOrderPlaced", lambda order: reserve("GADGET-01", order))
    relay()
    deliver(mongo, "InternalStockReserved", lambda sku: note("order-1", sku))
    relay()
    text = story_of(shown(operator, "order-1"))
    assert "InternalOrderPlaced orders-internal no. 1" in text
    assert "led to InternalStockReserved of GADGET-01 in stock" in text
    assert re.search(
        r"InternalStockReserved of GADGET-01 in stock OrderConfirmed orders no. 2", text
    )


def test_what_was_handled_without_a_word_stands_in_its_place(operator, relay, mongo):
    for sku in ("GADGET-01", "GIZMO-01"):
        bus().handle(ask.SetStock(sku=sku, on_hand=5))
    lines = tuple(
        Line(sku=sku, quantity=2, unit_price=Decimal("1")) for sku in ("GADGET-01", "GIZMO-01")
    )
    command = ask.PlaceOrder(order_id="order-1", customer_id="c", currency="USD", lines=lines)
    bus().handle(command)
    relay()
    deliver(mongo, "InternalOrderPlaced", lambda order: reserve("GADGET-01", order))
    relay()
    deliver(mongo, "InternalStockReserved", lambda sku: note("order-1", sku))
    bus().handle(ask.PayOrder(order_id="order-1", payment_reference="pay-1"))
    text = story_of(shown(operator, "order-1"))
    assert re.search(
        r"OrderPlaced .* InternalStockReserved of GADGET-01 in stock was handled, and led to no"
        r" message\. .* OrderPaid",
        text,
    )


def deliver(mongo, type_, command):
    """Handle the one event of a type as its subscriber would."""
    event = mongo.outbox_dispatched.find_one({"type": type_})
    with context.use(context.MessageContext(correlation_id=event["metadata"]["correlationId"])):
        bus().handle(command(event["aggregate_id"]), message_id=event["_id"])


def reserve(sku, order_id):
    return ask.ReserveStock(sku=sku, order_id=order_id, quantity=2)


def note(order_id, sku):
    return ask.NoteReservation(order_id=order_id, sku=sku, quantity=2)


def test_a_discarded_message_says_who_and_why(operator, mongo):
    place("order-1")
    entry = mongo.orders.find_one()["outbox"]["pending"][0]
    mongo.outbox_discarded.insert_one(
        {
            **{name: entry[name] for name in ("type", "topic", "sequence", "metadata")},
            "_id": entry["event_id"],
            "collection": "orders",
            "aggregate_id": "order-1",
            "discarded_at": clock.now(mongo),
            "discarded_by": "ann",
            "reason": "sent by hand",
        }
    )
    assert "discarded by ann: sent by hand" in story_of(shown(operator, "order-1"))


def test_of_another_collections_aggregate_with_the_same_id_nothing_is_told(operator, relay, mongo):
    bus().handle(ask.SetStock(sku="same-id", on_hand=0))
    place("other-order", sku="same-id")
    bus().handle(ask.ReserveStock(sku="same-id", order_id="other-order", quantity=1))
    mongo.outbox_dead_letters.insert_one(
        {
            **{"_id": "order-stock:x", "subscriber": "order-stock", "state": "dead"},
            **{"event_id": "x", "type": "InternalStockReserved", "topic": "stock-internal"},
            **{"aggregate_id": "same-id", "sequence": 1, "error": "ValueError: no"},
        }
    )
    place("same-id")
    relay()
    text = story_of(shown(operator, "same-id"))
    assert "OrderPlaced" in text
    assert "Stock" not in text


def test_a_long_story_is_told_from_its_newest_messages(mongo, relay, monkeypatch):
    place("order-1")
    for number in range(3):
        line = Line(sku=f"SKU-{number}", quantity=1, unit_price=Decimal("1"))
        bus().handle(ask.AddItem(order_id="order-1", line=line))
    relay()
    monkeypatch.setattr(story, "MOST", 4)
    parts = showing.parts(mongo.orders.find_one())
    told = story.of("orders", parts)
    assert not told.is_whole
    assert [len(step.events) for step in told.steps] == [2, 2]
    monkeypatch.setattr(story, "MOST", 8)
    assert story.of("orders", parts).is_whole


def test_an_order_that_isnt_there_leads_back_with_a_warning(operator):
    response = operator.get(f"{ORDERS}nothing/change/", follow=True)
    assert response.redirect_chain == [("/admin/", 302)]
    assert "Perhaps it was deleted?" in response.content.decode()


def test_ids_and_values_from_outside_are_escaped(operator):
    place("a<script>b", "c<i>d")
    html = shown(operator, "a<script>b").content.decode()
    assert "<script>b" not in html
    assert "<i>d" not in html
    assert "<i>d" not in operator.get(ORDERS).content.decode()


# -- Who may --


def test_strangers_and_staff_without_the_permission_are_refused(client, mongo):
    place("order-1")
    paths = (ORDERS, f"{ORDERS}{quote('order-1')}/change/")
    for path in paths:
        assert client.get(path).url.startswith("/admin/login/")
    client.force_login(person("other", *MESSAGES))
    for path in (*paths, f"{ORDERS}order-1/history/"):
        response = client.get(path)
        assert response.status_code == 403
        assert "“Can view order” ( orders.view_order )" in text_of(response)
        assert '<a href="/admin/">Back' in response.content.decode()


def test_an_orders_history_is_called_as_its_page_is(operator):
    place("order-1")
    response = operator.get(f"{ORDERS}{quote('order-1')}/history/")
    assert "Change history: Order order-1" in text_of(response)
    assert "outbox/admin" in response.content.decode()


def test_who_may_not_see_messages_is_shown_no_way_to_them_and_no_errors(
    client, relay, publisher, settings
):
    settings.OUTBOX_BACKOFF = settings.OUTBOX_BACKOFF_MAX = 1e6
    place("order-1")
    publisher.refused = {"orders"}
    relay()
    client.force_login(person("sales", "view_order"))
    response = shown(client, "order-1")
    assert "1 failed attempt" in story_of(response)
    assert "is refused" not in story_of(response)
    assert "/admin/outbox/" not in response.content.decode()


def test_nobody_adds_changes_or_deletes(admin_client, mongo):
    place("order-1")
    before = list(mongo.orders.find())
    one = f"{ORDERS}{quote('order-1')}"
    assert admin_client.post(f"{ORDERS}add/", {"status": "x"}).status_code == 403
    assert admin_client.post(f"{one}/change/", {"status": "x"}).status_code == 403
    assert admin_client.post(f"{one}/delete/", {"post": "yes"}).status_code == 403
    admin_client.post(ORDERS, {"action": "delete_selected", "_selected_action": "order-1"})
    assert list(mongo.orders.find()) == before


# -- What it costs --

LISTS = [
    {},
    {"p": 2},
    {"status": "placed"},
    {"customer_id": "cust-1"},
    {"customer_id": "cust-1", "status": "cancelled"},
    {"q": "cust-1"},
    {"q": "cust-1", "status": "cancelled"},
    {"q": "order-7"},
    {"q": "nobody"},
]


def fill(mongo, number, start=0):
    at = clock.now(mongo)
    mongo.orders.insert_many(
        {
            "_id": f"order-{one}",
            "version": 1,
            "customer_id": f"cust-{one % 3}",
            "status": "placed",
            "total": Decimal128("9.99"),
            "currency": "USD",
            "placed_at": at + timedelta(milliseconds=one),
        }
        for one in range(start, start + number)
    )


def test_a_list_costs_at_most_six_commands_at_any_size(admin_client, mongo, commands):
    costs, started = [], 0
    for number in (60, 1000):
        fill(mongo, number, started)
        started += number
        for query in LISTS:
            clock.now(mongo)
            commands.clear()
            with CaptureQueriesContext(connection) as queries:
                assert admin_client.get(ORDERS, query).status_code == 200
            asked = [one for one in commands.events if one.database_name == mongo.name]
            costs.append(len(queries) + len(asked))
    assert max(costs) <= 6
    assert costs[: len(LISTS)] == costs[len(LISTS) :]


def stages(plan):
    """The names of all stages of a plan."""
    if isinstance(plan, list):
        return [name for one in plan for name in stages(one)]
    if not isinstance(plan, dict):
        return []
    own = [plan["stage"]] if "stage" in plan else []
    return own + [name for value in plan.values() for name in stages(value)]


def test_lists_and_pages_read_by_index_and_sort_nothing(admin_client, mongo, commands):
    fill(mongo, 1000)
    for path, query in [(ORDERS, one) for one in LISTS] + [(f"{ORDERS}order_2D7/change/", {})]:
        commands.clear()
        assert admin_client.get(path, query).status_code in (200, 302)
        for event in commands.events:
            if event.command_name not in ("find", "aggregate") or event.database_name != mongo.name:
                continue
            asked = {
                name: value
                for name, value in event.command.items()
                if not name.startswith(("$", "lsid", "maxTimeMS"))
            }
            plan = mongo.command("explain", asked, verbosity="queryPlanner")
            names = stages(plan)
            assert {"IXSCAN", "IDHACK", "EOF"} & set(names), (query, asked)
            assert not {"COLLSCAN", "SORT"} & set(names), (query, asked)


# -- When something is missing --


def test_the_pages_say_so_when_mongodb_is_away(operator, settings):
    settings.OUTBOX_MONGODB_URI = "mongodb://secret-host.invalid:1"
    settings.OUTBOX_MONGODB_TIMEOUT = 0.2
    for path in (ORDERS, f"{ORDERS}order_2D1/change/"):
        response = operator.get(path)
        assert response.status_code == 503
        assert "MongoDB can't be reached" in text_of(response)
        assert "secret-host" not in response.content.decode()


def test_a_list_without_its_index_says_so_rather_than_scan(operator, mongo):
    place("order-1")
    mongo.orders.drop_index("orders_by_status")
    assert listed(operator) == ["order-1"]
    response = operator.get(ORDERS, {"status": "placed"})
    assert response.status_code == 503
    assert "manage.py outbox_indexes" in text_of(response)


def test_a_check_names_the_index_that_a_list_would_need():
    class Without(OrderRepository):
        indexes = (IndexModel([("placed_at", -1), ("_id", -1)]),)

    class Undeclared(OrderAdmin):
        repository = Without
        filters = {"status": ["placed"]}  # noqa: RUF012
        search_by = ()

    assert OrderAdmin(Order, site).check() == []
    [error] = Undeclared(Order, site).check()
    assert error.id == "outbox.E009"
    assert "('status', 1), ('placed_at', -1), ('_id', -1)" in error.msg


def test_documents_can_be_listed_by_id_without_an_index_of_ones_own(operator, monkeypatch):
    class ById(OrderAdmin):
        newest = (("_id", -1),)
        filters = {}  # noqa: RUF012
        search_by = ()

    assert ById(Order, site).check() == []
    monkeypatch.setattr(OrderAdmin, "newest", ById.newest)
    monkeypatch.setattr(OrderAdmin, "filters", {})
    assert operator.get(ORDERS).status_code == 200


def test_a_message_leads_to_its_orders_own_page(operator):
    place("order/1")
    found = re.search(
        r'href="(/admin/outbox/pendingmessage/[^"]+/change/[^"]*)"',
        operator.get("/admin/outbox/pendingmessage/").content.decode(),
    )
    page = operator.get(found[1]).content.decode()
    assert f'<a href="{ORDERS}{quote("order/1")}/change/">its own page</a>' in page


def test_no_migration_is_missing():
    call_command("makemigrations", "orders", check=True, dry_run=True, verbosity=0)
