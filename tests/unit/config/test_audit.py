"""The audit: what it makes of what pip-audit says."""

import json
import runpy
from pathlib import Path

import pytest

verdict = runpy.run_path(str(Path(__file__).parents[3] / ".ci" / "audit.py"))["verdict"]

FINE = {"name": "redis", "version": "8.1.0", "vulns": []}
BAD = {
    "name": "jinja2",
    "version": "2.10",
    "vulns": [{"id": "PYSEC-2019-217", "fix_versions": ["2.10.1"], "aliases": []}],
}
UNKNOWN = {"name": "x", "skip_reason": "not found"}


def report(*packages):
    return json.dumps({"dependencies": packages, "fixes": []})


def test_a_known_vulnerability_is_a_failure_that_names_it():
    code, lines = verdict(report(FINE, BAD, UNKNOWN), "Found 1 known vulnerability")

    assert code == 1
    assert lines == [
        "jinja2 2.10: PYSEC-2019-217, fixed in 2.10.1",
        "2 of 3 packages audited, 1 vulnerabilities.",
    ]


def test_packages_without_any_are_fine():
    assert verdict(report(FINE), "")[0] == 0


@pytest.mark.parametrize("error", ["requests.exceptions.ProxyError: no", "ConnectTimeout"])
def test_without_a_network_it_says_so_and_is_no_failure(error):
    assert verdict("", error) == (
        0,
        ["Not audited: the database of vulnerabilities can't be reached."],
    )


def test_a_database_that_knows_no_package_has_audited_nothing():
    code, (line,) = verdict(report(UNKNOWN), "")

    assert (code, line[:11]) == (0, "Not audited")


def test_any_other_failure_of_its_own_is_one():
    assert verdict("", "InvalidVersion: ''") == (1, ["InvalidVersion: ''"])
