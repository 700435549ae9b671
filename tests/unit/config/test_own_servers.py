"""Which servers are used: the bundled ones, or those that the environment names."""

import pytest

from config.embedded import VARIABLES, ServerError, find_binary, own_servers

OWN = dict.fromkeys(VARIABLES, "there")


def test_the_bundled_servers_are_used_unless_the_environment_names_others():
    assert own_servers({}) is None
    assert own_servers(OWN | {"PATH": "/bin"}) == OWN


def test_an_empty_variable_names_nothing():
    assert own_servers(dict.fromkeys(VARIABLES, "")) is None


def test_naming_only_some_of_the_servers_is_an_error_that_says_which_are_missing():
    given = {"OUTBOX_REDIS_URL": "redis://there"}
    with pytest.raises(ServerError, match=r"not OUTBOX_MONGODB_URI and OUTBOX_MONGODB_DATABASE"):
        own_servers(given)


@pytest.mark.parametrize(
    ("package", "pattern"), [("no_such.package", "*"), ("config", "no-such-file"), ("time", "*")]
)
def test_a_platform_without_a_bundled_server_is_told_the_ways_out(package, pattern):
    with pytest.raises(ServerError) as error:
        find_binary("MongoDB", package, pattern)
    for way in ("no bundled MongoDB for this platform", "compose.yaml", *VARIABLES):
        assert way in str(error.value)
