"""Conditional requests: If-Match on commands, If-None-Match on an order."""

import pytest

from outbox import ConcurrencyError
from outbox.repository import DocumentRepository
from tests.integration.orders.client import assert_problem


@pytest.mark.parametrize("tag", ['"1"', "*", ' "1" '])
def test_a_command_that_names_the_version_there_is_goes_through(api, tag):
    response = api.command(api.placed(), "pay", If_Match=tag)

    assert response.status_code == 200
    assert response.headers["ETag"] == '"2"'


@pytest.mark.parametrize("tag", ['"2"', 'W/"1"', '"01"', '"x"', '""', f'"{10**400}"', '"-1"'])
def test_a_command_that_names_another_version_has_no_effect(api, mongo, tag):
    order_id = api.placed()

    problem = assert_problem(api.command(order_id, "pay", If_Match=tag), 412)

    assert problem["type"] == "urn:problem-type:stale-version"
    assert mongo["orders"].find_one()["version"] == 1


@pytest.mark.parametrize("tag", ["1", '"1', "", '"1", "2"', "W/*", 'w/"1"', '"a b"', '"\x7f"'])
def test_a_malformed_if_match_is_refused(api, mongo, tag):
    problem = assert_problem(api.command(api.placed(), "pay", If_Match=tag), 400)

    assert [error["header"] for error in problem["errors"]] == ["If-Match"]
    assert mongo["orders"].find_one()["version"] == 1


def test_of_two_who_saw_the_same_version_the_second_is_told(api):
    order_id = api.placed()

    assert api.command(order_id, "items", If_Match='"1"').status_code == 200
    assert_problem(api.command(order_id, "items", If_Match='"1"'), 412)


def test_a_command_that_loses_every_race_is_a_conflict(api, monkeypatch):
    order_id = api.placed()

    def lose(self, aggregate):
        raise ConcurrencyError()

    monkeypatch.setattr(DocumentRepository, "save", lose)

    assert_problem(api.command(order_id, "pay"), 409)


@pytest.mark.parametrize("known", ['"1"', 'W/"1"', '"7", "1"', "*"])
def test_an_order_that_the_client_has_is_not_sent_again(api, known):
    path = f"/api/orders/{api.placed()}/"

    response = api.get(path, headers={"If-None-Match": known})

    assert (response.status_code, response.content) == (304, b"")
    assert response.headers["ETag"] == '"1"'


@pytest.mark.parametrize("known", ['"2"', "1", "", '"'])
def test_an_order_that_the_client_has_not_is_sent(api, known):
    path = f"/api/orders/{api.placed()}/"

    response = api.get(path, headers={"If-None-Match": known})

    assert response.status_code == 200
    assert response.headers["ETag"] == '"1"'
