"""The guarantees page names, for each promise, a test that there is."""

import ast
import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "guarantees.md"
LINK = re.compile(r"\[(test_\w+)\]\((\.\./tests/[\w/]+\.py)\)")

PROMISES, _, NOT_PROMISED = PAGE.read_text().partition("## Not promised")
ITEMS = re.findall(r"^- .+?(?=^- |^#|\Z)", PROMISES, re.M | re.S)


def functions_in(path):
    return {node.name for node in ast.walk(ast.parse(path.read_text())) if hasattr(node, "name")}


def test_the_page_says_what_is_promised_and_what_is_not():
    assert len(ITEMS) > 20
    assert NOT_PROMISED.count("\n- ") > 2


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: item[2:60].replace("\n", " "))
def test_every_promise_names_a_test_that_there_is(item):
    links = LINK.findall(item)
    assert links, "no test is named"
    # Whatever looks like a link is one: none is misspelt.
    assert len(links) == item.count("](../tests")
    for name, path in links:
        assert name in functions_in((PAGE.parent / path).resolve()), f"{path} has no {name}"
