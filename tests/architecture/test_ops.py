"""The Grafana dashboard and the Prometheus rules ask for what there is, and lead somewhere."""

import json
import re
from collections import Counter
from itertools import product
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from outbox import metrics, thresholds
from outbox.discovery import collections, messaging, topics
from outbox.telemetry import telemetry

ROOT = Path(__file__).parents[2]
OPS = ROOT / "ops"
DASHBOARD = json.loads((OPS / "grafana-dashboard.json").read_text())
GROUPS = yaml.safe_load((OPS / "prometheus-alerts.yml").read_text())["groups"]
RULES = [rule for group in GROUPS for rule in group["rules"]]
PANELS = [one for one in DASHBOARD["panels"] if one["type"] != "row"]
QUERIES = [target["expr"] for panel in PANELS for target in panel["targets"]]
VARIABLES = [one for one in DASHBOARD["templating"]["list"] if one["type"] == "query"]
ALERTED = [rule["expr"] for rule in RULES]
EXPRESSIONS = [*QUERIES, *ALERTED, *(one["definition"] for one in VARIABLES)]

#: Labels that Prometheus gives, or that a histogram has.
ALWAYS = {"job", "le"}

SECONDS = {"s": 1, "m": 60, "h": 3600}


@pytest.fixture
def samples(mongo, redis, settings):
    """The labels of each sample that a collector gives where everything has happened once."""
    settings.OUTBOX_STATISTICS = True
    telemetry.alive("relay")
    labels = {
        "topic": topics()[0],
        "collection": collections()[0],
        "subscriber": next(iter(messaging().subscribes)),
    }
    for key, _, label, _ in metrics.COUNTERS:
        telemetry.count(key, labels[label])
    for key, _, label, _, bounds in metrics.HISTOGRAMS:
        telemetry.observe(key, labels[label], [1], bounds)
    telemetry.breaker("relay", "closed")
    telemetry.flush()
    text = metrics.exposition("")[0].decode()
    families = list(text_string_to_metric_families(text))
    assert all(family.samples for family in families)
    return {one.name: set(one.labels) for family in families for one in family.samples}


def without_texts(expression):
    return re.sub(r'"[^"]*"', '""', expression)


def metrics_in(expression):
    return set(re.findall(r"\boutbox_\w+", without_texts(expression)))


def labels_in(expression):
    """What the series are chosen and grouped by."""
    text = without_texts(expression)
    chosen = re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"\"", text)
    grouped = re.findall(r"\bby \(([^)]*)\)", text)
    return {*chosen, *(one.strip() for by in grouped for one in by.split(","))}


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_every_metric_and_label_that_is_asked_for_exists(samples, expression):
    named = metrics_in(expression)
    assert named
    assert named <= samples.keys()
    assert labels_in(expression) - ALWAYS <= set().union(*(samples[one] for one in named))
    assert expression.count("(") == expression.count(")")


def test_every_metric_is_on_the_dashboard(samples):
    shown = set().union(*map(metrics_in, QUERIES))
    parts = {"_count", "_sum"}  # of a histogram, whose buckets are shown
    assert {one for one in samples if not one.endswith(tuple(parts))} <= shown


@pytest.mark.parametrize("expression", [*QUERIES, *ALERTED])
def test_instances_that_all_tell_the_same_are_never_added_up(expression):
    # `max by (job…)` comes first wherever a metric is read, and a rate inside of it.
    reads = re.findall(r"([\w() ,]*)\boutbox_\w+", without_texts(expression))
    assert all(
        re.search(r"max by \([^)]*\) \((?:rate\(|increase\()?$", one) or one.endswith("absent(")
        for one in reads
    )


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_says_how_bad_it_is_what_it_is_and_where_to_read_on(rule):
    assert rule.keys() - {"for"} == {"alert", "expr", "labels", "annotations"}
    assert re.fullmatch(r"Outbox[A-Za-z]+", rule["alert"])
    assert re.fullmatch(r"\d+[smh]", rule.get("for", "0s"))
    assert rule["labels"].keys() == {"severity"}
    assert rule["labels"]["severity"] in ("warning", "critical")
    notes = rule["annotations"]
    assert notes.keys() == {"summary", "description", "runbook_url"}
    page, _, anchor = notes["runbook_url"].partition("#")
    assert anchor in anchors(ROOT / page)
    grouped = labels_in(rule["expr"])
    for name in re.findall(r"\$labels\.(\w+)", notes["summary"] + notes["description"]):
        assert name in grouped


def anchors(page):
    """The headings of a page, as GitHub makes them the ends of links."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in headings}


def test_the_group_and_its_alerts_are_what_there_is_to_be_alerted_on():
    assert [group["name"] for group in GROUPS] == ["outbox"]
    names = Counter((rule["alert"], rule["labels"]["severity"]) for rule in RULES)
    assert max(names.values()) == 1
    assert {name for name, _ in names} >= {
        *("OutboxDown", "OutboxBrokerAway", "OutboxNoRelay", "OutboxNoConsumer"),
        *("OutboxEventsLate", "OutboxStuck", "OutboxDeadLetters", "OutboxSubscriberBehind"),
        *("OutboxBreakerOpen", "OutboxEventsMissing", "OutboxFull"),
    }


@pytest.mark.parametrize(
    ("alert", "threshold"),
    [
        ("OutboxEventsLate", "pending_age"),
        ("OutboxStuck", "stuck"),
        ("OutboxDeadLetters", "dead_letters"),
        ("OutboxSubscriberBehind", "lag"),
    ],
)
def test_alerts_begin_where_the_outbox_itself_says_that_something_is_wrong(alert, threshold):
    rules = {r["labels"]["severity"]: r["expr"] for r in RULES if r["alert"] == alert}
    found = [float(re.search(r"([\d.]+)$", rules[one])[1]) for one in ("warning", "critical")]
    assert tuple(found) == thresholds.DEFAULTS[threshold]


def test_the_dashboard_can_be_imported_anywhere():
    assert DASHBOARD["id"] is None
    sources = [one for one in DASHBOARD["templating"]["list"] if one["type"] == "datasource"]
    assert [(one["name"], one["query"]) for one in sources] == [("datasource", "prometheus")]
    askers = [*PANELS, *(target for panel in PANELS for target in panel["targets"]), *VARIABLES]
    assert {one["datasource"]["uid"] for one in askers} == {"${datasource}"}
    ids = [one["id"] for one in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))


def test_no_panel_lies_on_another_and_each_says_what_it_shows():
    taken = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = set(product(range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"])))
        assert not cells & taken
        assert at["x"] + at["w"] <= 24
        taken |= cells
    assert all(panel["title"] and panel["description"] for panel in PANELS)


def test_the_scrape_example_waits_longer_than_a_scrape_takes():
    example = yaml.safe_load((OPS / "prometheus.yml").read_text())
    assert [(OPS / name).exists() for name in example["rule_files"]] == [True]
    [scrape] = example["scrape_configs"]
    number, unit = re.fullmatch(r"(\d+)([smh])", scrape["scrape_timeout"]).groups()
    assert int(number) * SECONDS[unit] > metrics.PATIENCE


def test_the_page_lists_every_metric_and_no_other(samples):
    page = (ROOT / "docs" / "metrics.md").read_text()
    listed = set(re.findall(r"^\| `(outbox_\w+)`", page, re.M))
    parts = re.compile(r"_(bucket|count|sum)$")
    assert listed == {parts.sub("", one) for one in samples}
