"""Whose fault an error of Redis is, and what it says."""

import pytest
from redis import exceptions
from redis._parsers.base import BaseParser

from outbox.redis_errors import is_the_brokers_fault, text_of


def said(line):
    """The error that redis-py makes of what Redis says."""
    return BaseParser.parse_error(line)


@pytest.mark.parametrize(
    "error",
    [
        said("READONLY You can't write against a read only replica."),
        said("LOADING Redis is loading the dataset in memory"),
        said("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'."),
        said("MISCONF Redis is configured to save RDB snapshots"),
        said("NOREPLICAS Not enough good replicas to write."),
        said("CLUSTERDOWN The cluster is down"),
        said("TRYAGAIN Multiple keys request during rehashing of slot"),
        said("BUSY Redis is busy running a script."),
        said("NOAUTH Authentication required."),
        said("WRONGPASS invalid username-password pair or user is disabled."),
        exceptions.ResponseError("@user_script: 6: -READONLY You can't write.\r\n"),
        exceptions.ConnectionError("Connection closed by server."),
        exceptions.TimeoutError("Timeout reading from socket"),
    ],
    ids=repr,
)
def test_what_would_go_for_any_request_is_the_brokers_fault(error):
    assert is_the_brokers_fault(error)


@pytest.mark.parametrize(
    "line",
    [
        "WRONGTYPE Operation against a key holding the wrong kind of value",
        "NOPERM this user has no permissions to access one of the keys used as arguments",
        "OOM command not allowed when used memory > 'maxmemory'.",
        "BUSYGROUP Consumer Group name already exists",
        "NOGROUP No such key",
        "ERR unknown command `EVAL`",
        "@user_script: 6: The user executing the script can't run this command or subcommand",
        "",
    ],
)
def test_the_rest_is_not(line):
    assert not is_the_brokers_fault(said(line))


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("@user_script: 6: -OOM command not allowed.\r\n", "OOM command not allowed."),
        ("@user_script: 16: The user can't run this\r\n", "The user can't run this"),
        ("WRONGTYPE Operation\nagainst  a key", "WRONGTYPE Operation against a key"),
    ],
)
def test_it_is_told_on_one_line_and_without_the_place_in_a_script(said, told):
    assert text_of(exceptions.ResponseError(said)) == told
