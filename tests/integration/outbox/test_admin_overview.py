"""The admin's overview: what it says of a state, to whom, where it leads, and what it costs."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from html import unescape

import pytest
from django.contrib.auth.models import Permission, User

from outbox import context, monitoring, statistics, telemetry
from outbox.discovery import bus
from outbox.lease import Lease
from outbox.monitoring import (
    BreakerState,
    Failing,
    Held,
    Overview,
    Pending,
    SubscriberState,
    Topic,
)
from outbox.statistics import Process
from tests.integration.outbox.admin_pages import VIEW

OVERVIEW = "/admin/outbox/overview/"
FRAGMENT = f"{OVERVIEW}fragment/"
NOW = datetime(2026, 11, 5, 12, 30, tzinfo=UTC)

pytestmark = pytest.mark.django_db

WELL = SubscriberState("letters", "orders", 0, True, 0.0, 0, 0, 0, 0, 1, ["host-1:7"], "")
STATE = Overview(
    at=NOW,
    pending=Pending(0, True, None),
    stuck=0,
    dead_letters=0,
    replaying=0,
    published_per_minute=1200,
    broker_error="",
    relay_seen=1.0,
    topics=[Topic("orders", 5000, 1200, 4000)],
    subscribers=[WELL],
    leases=[],
    breakers=[],
    processes=[Process("host-1", 7, NOW, {"relay": NOW, "consumer:letters": NOW}, {})],
    took=0.0,
)


def person(name, *permissions):
    user = User.objects.create_user(name, password="secret", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return user


@pytest.fixture
def look(client, monkeypatch, settings):
    """The overview of a state, to somebody with these permissions: its HTML."""
    settings.OUTBOX_STATISTICS = True
    monkeypatch.setattr(statistics, "minutes", lambda since, names: [])

    def look(state=STATE, *permissions, path=OVERVIEW):
        monkeypatch.setattr(monitoring, "overview", lambda: state)
        seen = permissions or VIEW
        client.force_login(person(f"user-{User.objects.count()}", "view_overview", *seen))
        response = client.get(path)
        assert response.status_code == 200
        return response.content.decode()

    return look


def text_of(html):
    """The page's content as one line of text."""
    content = html.partition('id="outbox-state"')[2] or html
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", content)))


# -- What it says --


def test_all_is_well_in_one_sentence(look):
    html = look()
    assert "All is well: what was committed is being published" in text_of(html)
    assert "outbox-verdict outbox-well" in html
    assert not re.search(r"Warning|Bad", text_of(html))


def test_the_numbers_stand_beside_what_they_mean_and_lead_to_their_lists(look):
    state = replace(
        STATE,
        pending=Pending(5000, False, NOW - timedelta(minutes=3)),
        stuck=300,
        dead_letters=1000,
        replaying=7,
    )
    html = look(state)
    assert "Pending about 5,000 the oldest for 3 min" in text_of(html)
    assert "Stuck 300" in text_of(html)
    assert "Dispatched 1,200 in the last full minute" in text_of(html)
    assert "Dead letters 1,000 7 being tried again" in text_of(html)
    for address in ("pendingmessage/", "pendingmessage/?state=stuck", "deadletter/"):
        assert f'href="/admin/outbox/{address}"' in html


def test_what_is_wrong_is_said_with_what_to_do_and_where_to_look(look):
    lagging = WELL._replace(lag=40, lag_seconds=4000.0, consumers=0, breaker="open", missing=200)
    state = replace(
        STATE,
        stuck=300,
        dead_letters=1000,
        relay_seen=500.0,
        pending=Pending(50, True, NOW - timedelta(hours=1)),
        subscribers=[lagging],
    )
    html = look(state)
    verdict = html.partition('id="outbox-verdict"')[2].partition("</section>")[0]
    assert 'class="outbox-verdict outbox-bad"' in html
    assert "300 messages are stuck" in text_of(verdict)
    assert "<code>manage.py outbox_retry --stuck --dry-run</code> says why." in verdict
    assert "1,000 events are dead letters" in text_of(verdict)
    assert 'href="/admin/outbox/pendingmessage/?state=stuck"' in verdict
    assert 'href="/admin/outbox/deadletter/"' in verdict
    parts = set(re.findall(r'href="#(outbox-[a-z]+)"', verdict))
    assert parts == {"outbox-processes", "outbox-subscribers", "outbox-breakers"}
    for part in parts:
        assert f'<section id="{part}"' in html


def test_an_absent_broker_is_told_of_without_its_address(look):
    error = "Redis can't be reached: Error 111 connecting to secret-host:6379."
    unknown = WELL._replace(lag=None, lag_seconds=None, unacknowledged=None, lag_is_exact=False)
    nowhere = [Topic("orders", 5000, 0, None)]
    html = look(replace(STATE, broker_error=error, subscribers=[unknown], topics=nowhere))
    assert "Redis doesn't answer, so nothing is published or consumed." in text_of(html)
    assert "nothing is lost" in text_of(html)
    assert "not known" in text_of(html)
    assert "secret-host" not in html


def test_subscribers_show_how_far_they_are(look):
    one = WELL._replace(
        lag=1234, lag_is_exact=False, lag_seconds=90.0, deferred=12, missing=3, dead_letters=9
    )
    html = look(replace(STATE, subscribers=[one], dead_letters=9))
    assert "letters orders at least 1,234 1 min 30 s 0 12, 3 of them behind missing ones 9 1" in (
        text_of(html)
    )
    assert 'href="/admin/outbox/deadletter/?subscriber=letters"' in html
    assert 'href="/admin/outbox/waitingevent/?subscriber=letters"' in html
    assert "waitingevent/?" not in look()


FAILING = Failing("letters", 3, "e-1", "OrderPaid e-1", 4, False, "OSError: <i>mail-1</i>", NOW)


def test_who_fails_again_and_again_is_named_with_why_and_where_to_see_more(look):
    dying = FAILING._replace(event="OrderShipped e-2", attempts=2, died=True, error="")
    html = look(replace(STATE, failing=[FAILING, dying]))
    text = text_of(html)
    assert (
        "Warning letters has failed 4 times on OrderPaid e-1; due again since "
        "2026-11-05T12:30:00Z. 2 others wait like it. OSError: <i>mail-1</i> "
    ) in text
    assert "Warning letters: the process has died in attempt 2 of OrderShipped e-2;" in text
    assert "<i>mail-1" not in html
    assert html.count('href="/admin/outbox/waitingevent/?state=tried&amp;subscriber=letters"') == 2


def test_what_a_handler_said_is_for_those_who_may_see_its_events(look):
    html = look(replace(STATE, failing=[FAILING]), "view_deadletter")
    assert "letters has failed 4 times on OrderPaid e-1" in html
    assert "mail-1" not in html
    assert "waitingevent/" not in html


def test_processes_show_what_they_do_and_hold_and_so_do_holders_nobody_sees(look):
    ends = NOW + timedelta(seconds=4)
    leases = [
        Held("relay:orders:3", "host-1:7", ends),
        Held("consumer:letters:orders.2", "host-1:7", ends),
        Held("rebuild:letters", "gone:9", ends),
    ]
    text = text_of(look(replace(STATE, leases=leases)))
    assert "host-1:7 consumes for letters, relays" in text
    assert "partition 3 of orders, for another 4 s" in text
    assert "letters on the stream orders.2, for another 4 s" in text
    assert "gone:9 not known the rebuild of letters, for another 4 s not lately" in text


def test_breakers_show_where_they_are_open_and_since_when(look):
    breakers = [BreakerState("letters", "open", "host-1:7", NOW - timedelta(minutes=3))]
    text = text_of(look(replace(STATE, breakers=breakers)))
    assert "letters open host-1:7 3 min ago" in text
    assert "All are closed" in text_of(look())


def test_names_from_elsewhere_are_escaped(look):
    process = Process("<script>x", 7, NOW, {"relay": NOW}, {})
    html = look(replace(STATE, processes=[process]))
    assert "<script>x" not in html
    assert "&lt;script&gt;x:7" in html


# -- How it is shown --


def test_it_has_the_admins_own_look(look):
    html = look()
    assert '<ol class="breadcrumbs">' in html
    assert 'id="nav-sidebar"' in html
    assert "<title>Overview" in html


def test_it_needs_no_script_and_none_is_in_the_page_itself(look):
    html = look()
    assert not re.search(r"<script(?![^>]*\bsrc=)", html)
    assert not re.search(r"<style|\bon[a-z]+=|style=", html.partition('id="content"')[2])
    assert re.search(r'<a href="">Reload</a>', html)
    assert "://" not in re.sub(r'xmlns="[^"]+"', "", html)


def test_the_charts_of_an_hour_and_a_day_are_in_it(look):
    html = look()
    assert html.count('<svg class="outbox-chart"') == 8
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))


def test_the_fragment_is_what_the_page_has_of_it(look):
    page = look()
    fragment = look(path=FRAGMENT)
    assert "<html" not in fragment
    parts = re.findall(r'^<(?:section|p) id="([^"]+)"', fragment, re.M)
    assert parts == re.findall(r'^<(?:section|p) id="([^"]+)"', page, re.M)
    assert "outbox-verdict" in parts


# -- Who may --


@pytest.mark.parametrize("path", [OVERVIEW, FRAGMENT])
def test_strangers_are_asked_to_log_in(path, client):
    response = client.get(path)
    assert response.status_code == 302
    assert response.url.startswith("/admin/login/")


@pytest.mark.parametrize("path", [OVERVIEW, FRAGMENT])
def test_staff_without_its_permission_is_refused(path, client):
    client.force_login(person("other", "view_pendingmessage"))
    assert client.get(path).status_code == 403


def test_the_menu_has_it_for_those_who_may_see_it(client, look):
    look()
    assert OVERVIEW in client.get("/admin/").content.decode()
    assert OVERVIEW in client.get("/admin/outbox/").content.decode()
    client.force_login(person("other", "view_pendingmessage"))
    assert OVERVIEW not in client.get("/admin/").content.decode()


def test_nobody_is_led_to_a_list_that_they_may_not_see(look):
    state = replace(STATE, stuck=300, dead_letters=5)
    html = look(state, "view_deadletter")
    assert "pendingmessage" not in html
    assert "/admin/outbox/deadletter/" in html


# -- On the real servers --


@pytest.fixture
def operator(client, mongo, redis):
    client.force_login(person("operator", "view_overview"))
    return client


def test_what_is_stored_is_what_it_shows(operator, mongo, settings):
    from orders.domain import commands

    settings.OUTBOX_STATISTICS = True
    Lease(mongo, "relay:orders:5", 5.0).acquire()
    bus().handle(commands.SetStock(sku="WIDGET-01", on_hand=0))
    with context.handling(order_id := context.new_id()):
        bus().handle(place(order_id))
    telemetry.telemetry.flush()
    text = text_of(operator.get(OVERVIEW).content.decode())
    assert re.search(r"Pending 2 the oldest for \d+ s", text)
    assert "partition 5 of orders" in text
    assert "customer-orders orders 0" in text


def place(order_id):
    from orders.domain import commands
    from orders.domain.line import Line

    lines = (Line(sku="WIDGET-01", quantity=1, unit_price=Decimal("9.99")),)
    return commands.PlaceOrder(
        order_id=order_id, customer_id="cust-789", currency="USD", lines=lines
    )


def test_it_costs_the_same_commands_whatever_there_is(operator, mongo, commands):
    costs = []
    operator.get(OVERVIEW)  # the day's charts are drawn once a minute
    for number in (1, 30):
        for _ in range(number):
            with context.handling(order_id := context.new_id()):
                bus().handle(place(order_id))
        commands.clear()
        assert operator.get(OVERVIEW).status_code == 200
        costs.append(sum(event.database_name == mongo.name for event in commands.events))
    # One more if the minute has passed meanwhile, and not one for each order.
    assert abs(costs[0] - costs[1]) <= 1


def test_it_says_so_when_mongodb_is_away(client, settings):
    client.force_login(person("operator", "view_overview"))
    settings.OUTBOX_MONGODB_URI = "mongodb://secret-host.invalid:1"
    settings.OUTBOX_MONGODB_TIMEOUT = 0.2
    for path in (OVERVIEW, FRAGMENT):
        response = client.get(path)
        assert response.status_code == 503
        assert "MongoDB can't be reached or doesn't answer" in text_of(response.content.decode())
        assert "secret-host" not in response.content.decode()


def test_it_says_so_when_redis_is_away(operator, settings):
    settings.OUTBOX_REDIS_URL = "redis://127.0.0.1:1/0"
    text = text_of(operator.get(OVERVIEW).content.decode())
    assert "Redis doesn't answer, so nothing is published or consumed." in text
