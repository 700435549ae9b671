"""Lists of orders: filters, pages, and what they cost."""

from datetime import UTC, datetime, timedelta
from itertools import chain

import pytest

from orders import queries
from orders.paging import PAGE
from tests.integration.orders.client import ORDER, assert_problem

MOMENT = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def store(api, mongo):
    """Stores copies of a placed order under other ids; all in one millisecond unless told."""
    api.place()
    document = mongo["orders"].find_one()
    mongo["orders"].delete_one({})

    def store(number, *, apart=timedelta(0), prefix="order", **changes):
        mongo["orders"].insert_many(
            document | {"_id": f"{prefix}-{i:04}", "placed_at": MOMENT + i * apart} | changes
            for i in range(number)
        )

    return store


def ids(response):
    assert response.status_code == 200, response.content
    return [order["order_id"] for order in response.json()["results"]]


def all_pages(api, query=""):
    pages, cursor = [], ""
    while cursor is not None:
        response = api.get(f"/api/orders/?{query}&cursor={cursor}")
        pages.append(ids(response))
        cursor = response.json()["next"]
    return pages


def test_a_list_shows_whole_orders(api):
    order = api.get(f"/api/orders/{api.placed()}/").json()

    assert api.get("/api/orders/").json() == {"results": [order], "next": None}


def test_a_list_is_newest_first(api, store):
    store(3, apart=timedelta(milliseconds=1))

    assert ids(api.get("/api/orders/")) == ["order-0002", "order-0001", "order-0000"]


def test_a_list_is_of_one_customer_or_status_if_asked(api):
    mine, paid, others = api.placed(), api.placed(), api.placed(customer_id="other")
    api.command(paid, "pay")

    assert ids(api.get("/api/orders/?customer_id=cust-789")) == [paid, mine]
    assert ids(api.get("/api/orders/?status=placed")) == [others, mine]
    assert ids(api.get("/api/orders/?customer_id=cust-789&status=paid")) == [paid]
    assert ids(api.get("/api/orders/?customer_id=&status=&cursor=")) == [others, paid, mine]
    assert ids(api.get("/api/orders/?customer_id=nobody")) == []


@pytest.mark.parametrize("apart", [timedelta(0), timedelta(milliseconds=1)])
@pytest.mark.parametrize("number", [PAGE - 1, PAGE, PAGE + 1, 120])
def test_pages_show_every_order_once(api, store, apart, number):
    store(number, apart=apart)

    pages = all_pages(api, "customer_id=cust-789")

    assert [len(page) for page in pages[:-1]] == [PAGE] * (len(pages) - 1)
    assert 0 < len(pages[-1]) <= PAGE
    assert list(chain(*pages)) == [f"order-{i:04}" for i in reversed(range(number))]


def test_orders_placed_meanwhile_neither_repeat_nor_hide_others(api, store):
    store(PAGE + 2, apart=timedelta(milliseconds=1))
    first = api.get("/api/orders/").json()
    for _ in range(3):
        api.placed()

    assert ids(api.get(f"/api/orders/?cursor={first['next']}")) == ["order-0001", "order-0000"]


def test_a_list_leaves_the_outbox_with_the_server(api, commands):
    api.placed()
    commands.clear()

    api.get("/api/orders/")
    api.get("/api/orders/?status=placed")

    finds = [event.command for event in commands.events if event.command_name == "find"]
    assert [find["projection"] for find in finds] == [{"outbox": 0}] * 2


@pytest.mark.parametrize("status", [None, "placed"])
@pytest.mark.parametrize("customer_id", [None, "cust-789"])
@pytest.mark.parametrize("paged", [False, True])
def test_a_list_reads_an_index_in_order_and_no_more_than_its_page(
    api, store, mongo, commands, customer_id, status, paged
):
    store(300, apart=timedelta(milliseconds=2))
    store(300, apart=timedelta(milliseconds=2), prefix="other", customer_id="x", status="paid")
    wanted = {"customer_id": customer_id, "status": status}
    cursor = queries.list_orders(**wanted)["next"] if paged else None
    commands.clear()
    queries.list_orders(**wanted, cursor=cursor)

    (find,) = (event.command for event in commands.events if event.command_name == "find")
    query = {key: find[key] for key in ("find", "filter", "projection", "sort", "limit")}
    explained = mongo.command("explain", query, verbosity="executionStats")

    assert set(stages(explained["queryPlanner"]["winningPlan"])) <= {
        "IXSCAN", "FETCH", "LIMIT", "PROJECTION_SIMPLE", "PROJECTION_DEFAULT"
    }  # fmt: skip
    assert explained["executionStats"]["totalDocsExamined"] <= PAGE + 4


def stages(plan):
    """The names of the stages of a plan."""
    yield plan["stage"]
    for below in [*plan.get("inputStages", ()), *filter(None, [plan.get("inputStage")])]:
        yield from stages(below)


def test_a_cursor_goes_with_other_filters_too(api, store):
    """It is a place in time, not a stored search."""
    store(PAGE + 1, apart=timedelta(milliseconds=1))
    cursor = api.get("/api/orders/").json()["next"]

    assert ids(api.get(f"/api/orders/?status=placed&cursor={cursor}")) == ["order-0000"]
    assert ids(api.get(f"/api/orders/?status=paid&cursor={cursor}")) == []


def test_an_unknown_order_is_not_found(api):
    problem = assert_problem(api.get("/api/orders/unknown/"), 404)

    assert problem["detail"] == "There is no order 'unknown'."


def test_an_order_is_shown_without_a_word_of_its_outbox(api):
    order = api.get(f"/api/orders/{api.placed()}/").json()

    assert not order.keys() & {"_id", "outbox"}
    assert order.keys() >= ORDER.keys()
