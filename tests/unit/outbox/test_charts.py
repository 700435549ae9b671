"""Charts: numbers over time become SVG that can be seen, read aloud, and trusted."""

import re
from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree

import pytest

from outbox.admin import charts, history_charts, series
from outbox.admin.charts import Axis, Line
from outbox.admin.history_charts import DAY, HOUR
from outbox.statistics import Minute

NOW = datetime(2026, 11, 5, 12, 30, 40, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
AXIS = Axis(["12:00 UTC", "12:01 UTC", "12:02 UTC"], "three minutes ago")


def minute(ago, **counts):
    """What was counted in a minute, so many minutes ago."""
    return Minute(NOW.replace(second=0) - ago * MINUTE, counts)


def a_minute(number):
    return f"{number:,.0f} a minute"


def bars(values, **changes):
    given = {"key": "k", "title": "Published", "axis": AXIS, "kind": "published"} | changes
    return parsed(charts.bars(values=values, worded=a_minute, **given))


def parsed(svg):
    return ElementTree.fromstring(str(svg))


def drawn_bars(svg):
    return [one for one in svg.iter("rect") if one.get("class") == "outbox-bar"]


def said(svg):
    """What pointing at the slots says."""
    return [one.find("title").text for one in svg.iter("g") if one.find("title") is not None]


def texts(svg):
    return [one.text for one in svg.iter("text")]


# -- Time --


def test_an_hour_has_sixty_slots_and_now_lies_in_the_last():
    slots = series.slots(NOW, timedelta(hours=1), MINUTE)
    assert len(slots) == 60
    assert slots[-1] == NOW.replace(second=0)
    assert slots[0] == slots[-1] - timedelta(minutes=59)


def test_slots_of_ten_minutes_begin_at_whole_ones():
    slots = series.slots(NOW, timedelta(days=1), timedelta(minutes=10))
    assert len(slots) == 144
    assert slots[-1] == NOW.replace(minute=30, second=0)


# -- Numbers --


def test_counts_of_several_names_and_labels_add_up_in_their_slot():
    starts = series.slots(NOW, 3 * MINUTE, MINUTE)
    minutes = [
        minute(2, refused={"orders": 1, "stock": 2}, failures={"letters": 4}, handled={"x": 9}),
        minute(0, failures={"letters": 1}),
    ]
    assert series.counted(minutes, ["refused", "failures"], starts, MINUTE) == [7, 0, 1]


def test_what_lies_before_the_first_slot_or_after_the_last_is_left_out():
    starts = series.slots(NOW, 3 * MINUTE, MINUTE)
    minutes = [minute(3, handled={"x": 5}), minute(-1, handled={"x": 7})]
    assert series.counted(minutes, ["handled"], starts, MINUTE) == [0, 0, 0]


def test_histograms_of_all_labels_add_up_without_their_sums():
    starts = series.slots(NOW, 2 * MINUTE, 2 * MINUTE)
    minutes = [minute(0, waited={"a": {"0": 1, "3": 2, "sum": 0.5}, "b": {"3": 4, "sum": 9.0}})]
    assert series.histograms(minutes, "waited", starts, 2 * MINUTE) == [{"0": 1, "3": 6}]


@pytest.mark.parametrize(
    ("buckets", "share", "expected"),
    [
        ({}, 0.5, None),
        ({0: 10}, 0.5, 0.5),
        ({0: 5, 1: 5}, 0.5, 1.0),
        ({0: 5, 1: 5}, 0.75, 2.5),
        ({1: 4}, 1.0, 4.0),
        ({3: 1}, 0.5, 9.0),  # beyond the last bound
        ({0: 99, 3: 1}, 0.5, 50 / 99),
    ],
)
def test_a_quantile_is_estimated_within_its_bucket(buckets, share, expected):
    named = {str(number): observations for number, observations in buckets.items()}
    found = series.quantile(named, (1.0, 4.0, 9.0), share)
    assert found == (expected if expected is None else pytest.approx(expected))


# -- Drawing --


def test_bars_are_as_high_as_their_values_and_stand_on_the_axis():
    svg = bars([10, 5, 0])
    heights = [float(one.get("height")) for one in drawn_bars(svg)]
    assert heights[0] == charts.BOTTOM - charts.TOP
    assert heights[1] == heights[0] / 2
    assert heights[2] == 0
    for one in drawn_bars(svg):
        assert float(one.get("y")) + float(one.get("height")) == charts.BOTTOM


def test_the_smallest_of_values_can_still_be_seen():
    assert float(drawn_bars(bars([1, 100000, 0]))[0].get("height")) == 1


def test_bars_have_a_title_a_description_and_an_axis_in_words():
    svg = bars([10, 1500, 3])
    title, description = svg.find("title"), svg.find("desc")
    assert svg.get("role") == "img"
    assert svg.get("aria-labelledby") == f"{title.get('id')} {description.get('id')}"
    assert title.text == "Published"
    assert description.text == (
        "1,513 in all; at most 1,500 a minute, 12:01 UTC; 3 a minute in the last, which isn't over."
    )
    assert texts(svg) == ["at most 1,500 a minute", "three minutes ago", "now"]


def test_pointing_at_a_slot_names_its_number():
    titles = said(bars([10, 1500, 3]))
    assert titles == [
        "12:00 UTC: 10 a minute",
        "12:01 UTC: 1,500 a minute",
        "12:02 UTC: 3 a minute",
    ]


def test_nothing_is_said_in_words_and_drawn_as_nothing():
    svg = bars([0, 0, 0])
    assert svg.find("desc").text == "None in this time."
    assert texts(svg)[0] == "none in this time"
    assert {one.get("height") for one in drawn_bars(svg)} == {"0.0"}


def lines(*several):
    named = [Line(name, name, values) for name, values in several]
    return parsed(charts.lines("k", "Waited", AXIS, named, lambda value: f"{value:g} s"))


def test_a_line_ends_where_there_is_nothing_and_a_value_alone_is_a_dot():
    [path] = lines(("p50", [1.0, None, 2.0])).iter("path")
    assert re.fullmatch(r"M[\d.]+ [\d.]+h0M[\d.]+ [\d.]+h0", path.get("d"))
    [path] = lines(("p50", [1.0, 2.0, None])).iter("path")
    assert re.fullmatch(r"M[\d.]+ [\d.]+L[\d.]+ [\d.]+", path.get("d"))


def test_nothing_and_zero_are_not_the_same():
    [path] = lines(("p50", [0.0, 1.0, None])).iter("path")
    assert re.fullmatch(r"M[\d.]+ [\d.]+L[\d.]+ [\d.]+", path.get("d"))


def test_lines_share_one_scale_and_are_described_one_by_one():
    svg = lines(("p50", [1.0, None, 2.0]), ("p95", [None, 8.0, 4.0]))
    assert texts(svg)[0] == "at most 8 s"
    assert svg.find("desc").text == (
        "p50: at most 2 s, 12:02 UTC; 2 s at last. p95: at most 8 s, 12:01 UTC; 4 s at last."
    )
    assert said(svg) == ["12:00 UTC: p50 1 s", "12:01 UTC: p95 8 s", "12:02 UTC: p50 2 s, p95 4 s"]


def test_lines_without_any_value_say_so():
    svg = lines(("p50", [None, None, None]))
    assert texts(svg)[0] == "nothing in this time"
    assert svg.find("desc").text == "p50: nothing in this time."


def test_what_is_shown_is_escaped_and_carries_no_style_or_script():
    axis = Axis(["<i>&", "12:01 UTC", "12:02 UTC"], "<u>")
    svg = str(charts.bars("k", "<b>&", axis, [1, 2, 3], "x", a_minute))
    assert "&lt;b&gt;&amp;" in svg
    assert not re.search("<[biu]>", svg)
    assert not re.search(r"style|script|https?:|\son\w+=", svg)


# -- The overview's --


def test_each_span_has_the_four_charts_under_ids_of_their_own():
    ids = []
    for span in (HOUR, DAY):
        found = history_charts.drawn([minute(1, published={"orders": 3})], NOW, span)
        assert [title for title, _ in found.charts] == [
            "Published",
            "Handled",
            "Failures",
            "From commit to stream",
        ]
        ids += re.findall(r'id="([^"]+)"', "".join(svg for _, svg in found.charts))
    assert len(ids) == len(set(ids)) == 16


def test_failures_are_refusals_failed_attempts_and_dead_letters_together():
    counts = {"refused": {"orders": 1}, "failures": {"letters": 2}, "dead_letters": {"letters": 4}}
    found = dict(history_charts.drawn([minute(0, **counts)], NOW, HOUR).charts)
    assert "7 in all" in found["Failures"]
    assert "None in this time" in found["Handled"]


def test_a_slot_of_the_day_adds_its_ten_minutes():
    minutes = [minute(ago, handled={"x": 1}) for ago in range(1, 11)]
    found = dict(history_charts.drawn(minutes, NOW, DAY).charts)
    assert "at most 10 in ten minutes, 12:20 UTC" in found["Handled"]


@pytest.mark.parametrize(
    ("number", "words"), [(0.0123, "12 ms"), (2.345, "2.3 s"), (95, "1 min 35 s")]
)
def test_times_are_said_with_the_digits_that_matter(number, words):
    assert history_charts.seconds(number) == words
