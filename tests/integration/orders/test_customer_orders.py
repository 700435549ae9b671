"""A customer's orders: the read model over HTTP, fed by the projection's own updates."""

from datetime import UTC, datetime, timedelta
from itertools import chain

import pytest
from bson import Decimal128

from orders import read_model
from orders.paging import PAGE
from tests.integration.orders.client import BODIES, assert_problem
from tests.integration.orders.test_lists import stages
from tests.unit.orders.process import deliver_all

PATH = "/api/customers/cust-789/orders/"
MOMENT = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def indexed(mongo):
    mongo[read_model.COLLECTION].create_indexes(read_model.INDEXES)


@pytest.fixture
def store(mongo, indexed):
    """Stores rows of the read model; all in one millisecond unless told."""

    def store(number, *, apart=timedelta(0), prefix="order", customer_id="cust-789"):
        mongo[read_model.COLLECTION].insert_many(
            {
                "_id": f"{prefix}-{i:04}",
                "customer_id": customer_id,
                "status": "placed",
                "total": Decimal128("99.90"),
                "currency": "USD",
                "placed_at": MOMENT + i * apart,
                "updated_at": MOMENT + i * apart,
            }
            for i in range(number)
        )

    return store


def test_a_list_shows_what_the_orders_themselves_say(api, staff, mongo):
    staff.set_stock("WIDGET-01", 5)
    ids = [api.placed() for _ in range(2)] + [api.placed(items=[BODIES["items"]])]
    api.placed(customer_id="other")
    deliver_all("orders-internal", "stock-internal")
    api.command(ids[0], "items")
    for name in ("pay", "ship"):
        api.command(ids[2], name)
    api.command(ids[1], "pay")
    api.command(ids[1], "cancel")
    deliver_all("orders")

    listed = api.get(PATH).json()

    fields = ("order_id", "status", "total", "currency", "placed_at", "updated_at")
    written = api.get("/api/orders/?customer_id=cust-789").json()["results"]
    assert [one["status"] for one in written] == ["shipped", "cancelled", "confirmed"]
    assert listed == {"results": [{f: one[f] for f in fields} for one in written], "next": None}


def test_orders_are_listed_when_their_events_have_come(api):
    order_id = api.placed()
    assert api.get(PATH).json()["results"] == []

    deliver_all("orders")
    api.command(order_id, "pay")

    assert [one["status"] for one in api.get(PATH).json()["results"]] == ["placed"]


def test_a_list_shows_times_and_totals_as_the_api_does(api, store):
    store(1)

    assert api.get(PATH).json() == {
        "results": [
            {
                "order_id": "order-0000",
                "status": "placed",
                "total": "99.90",
                "currency": "USD",
                "placed_at": "2026-01-01T12:00:00.000Z",
                "updated_at": "2026-01-01T12:00:00.000Z",
            }
        ],
        "next": None,
    }


@pytest.mark.parametrize("apart", [timedelta(0), timedelta(milliseconds=1)])
@pytest.mark.parametrize("number", [PAGE, PAGE + 1, 120])
def test_pages_show_every_order_once_newest_first(api, store, apart, number):
    store(number, apart=apart)
    store(3, prefix="x", customer_id="other")
    pages, cursor = [], ""

    while cursor is not None:
        page = api.get(f"{PATH}?cursor={cursor}").json()
        pages.append([one["order_id"] for one in page["results"]])
        cursor = page["next"]

    assert [len(page) for page in pages[:-1]] == [PAGE] * (len(pages) - 1)
    assert list(chain(*pages)) == [f"order-{i:04}" for i in reversed(range(number))]


@pytest.mark.parametrize("paged", [False, True])
def test_a_page_reads_its_index_in_order_and_no_more(store, mongo, commands, paged):
    store(300, apart=timedelta(milliseconds=2))
    store(300, apart=timedelta(milliseconds=2), prefix="x", customer_id="other")
    cursor = read_model.list_customer_orders("cust-789")["next"] if paged else None
    commands.clear()
    read_model.list_customer_orders("cust-789", cursor)

    (find,) = (event.command for event in commands.events if event.command_name == "find")
    query = {key: find[key] for key in ("find", "filter", "projection", "sort", "limit")}
    explained = mongo.command("explain", query, verbosity="executionStats")

    assert "IXSCAN" in set(stages(explained["queryPlanner"]["winningPlan"]))
    assert "SORT" not in set(stages(explained["queryPlanner"]["winningPlan"]))
    assert explained["executionStats"]["totalDocsExamined"] <= PAGE + 4


@pytest.mark.parametrize("query", ["cursor=x", "cursor=%00", "cursor=MSA=", "x=1", "status=paid"])
def test_parameters_that_a_list_does_not_know_are_refused(api, query):
    problem = assert_problem(api.get(f"{PATH}?{query}"), 400)

    assert [error["parameter"] for error in problem["errors"]] == [query.partition("=")[0]]


@pytest.mark.parametrize("customer_id", ["nobody", "%00", "$gt", "%ff", "{}", "x" * 5000, "%20"])
def test_nobodys_orders_are_none(api, store, customer_id):
    store(1)

    response = api.get(f"/api/customers/{customer_id}/orders/")

    assert (response.status_code, response.json()) == (200, {"results": [], "next": None})
