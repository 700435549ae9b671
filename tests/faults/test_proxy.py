"""The proxy itself: what it lets through, and what it doesn't."""

import socket
import threading
from contextlib import suppress

import pytest

from tests.faults.proxy import Proxy
from tests.integration.outbox.consuming import eventually


@pytest.fixture
def heard():
    """What a server that answers everything with itself, twice, has been sent."""
    return bytearray()


@pytest.fixture
def proxy(heard):
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(client):
        with client, suppress(OSError):
            while data := client.recv(65536):
                heard.extend(data)
                client.sendall(data * 2)

    def accept():
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(client,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    with Proxy(listener.getsockname()[1]) as proxy:
        yield proxy
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


@pytest.fixture
def connect(proxy):
    made = []

    def connect():
        made.append(socket.create_connection(("127.0.0.1", proxy.port), timeout=5))
        return made[-1]

    yield connect
    for one in made:
        one.close()


def ask(client, request):
    """What is answered until the answer is complete or the connection ends."""
    answer = b""
    with suppress(ConnectionError):  # it may end with a reset as well
        client.sendall(request)
        while len(answer) < 2 * len(request) and (data := client.recv(100)):
            answer += data
    return answer


def test_everything_goes_through(connect, heard):
    client = connect()
    assert ask(client, b"ping") == b"pingping"
    assert ask(client, b"x" * 100_000) == b"x" * 200_000
    assert len(heard) == 100_004


def test_a_lost_request_is_never_heard(connect, proxy, heard):
    client = connect()
    proxy.cut_at(b"ADD", request=0)
    assert ask(client, b"ping") == b"pingping"
    assert ask(client, b"XADD") == b""
    assert proxy.has_cut.is_set()
    assert heard == b"ping"
    assert ask(connect(), b"XADD") == b"XADDXADD"


def test_half_a_request_is_heard_by_half(connect, proxy, heard):
    proxy.cut_at(b"ADD", request=2)
    assert ask(connect(), b"XADD") in (b"", b"XAXA")  # this server answers to halves
    eventually(lambda: heard == b"XA")


@pytest.mark.parametrize("bytes_of_it", [0, 3])
def test_a_request_whose_answer_is_lost_has_been_heard(connect, proxy, heard, bytes_of_it):
    proxy.cut_at(b"ADD", answer=bytes_of_it)
    assert ask(connect(), b"XADD") == b"XADDXADD"[:bytes_of_it]
    assert heard == b"XADD"


def test_only_the_connection_that_asks_is_cut(connect, proxy):
    one, other = connect(), connect()
    proxy.cut_at(b"ADD", answer=0)
    assert ask(one, b"XADD") == b""
    assert ask(other, b"XADD") == b"XADDXADD"


def test_all_connections_can_be_cut_and_refused(connect, proxy):
    client = connect()
    assert ask(client, b"ping") == b"pingping"
    proxy.refuse()
    assert ask(client, b"ping") == b""
    assert ask(connect(), b"ping") == b""
    proxy.go_on()
    assert ask(connect(), b"ping") == b"pingping"


def test_what_is_stalled_arrives_later(connect, proxy, heard):
    client = connect()
    proxy.stall()
    client.settimeout(0.1)
    with pytest.raises(TimeoutError):
        ask(client, b"ping")
    assert heard == b""
    proxy.go_on()
    client.settimeout(5)
    assert client.recv(100) == b"pingping"
