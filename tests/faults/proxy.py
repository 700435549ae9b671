"""A TCP proxy between a client and a server, which cuts, stalls and refuses connections."""

import socket
import threading
from contextlib import suppress

REQUEST, ANSWER = "request", "answer"


class Proxy:
    """Forwards what it gets on `port` to a server of this host. A context manager."""

    def __init__(self, server_port):
        self.server_port = server_port
        self._flowing = threading.Event()
        self._flowing.set()
        self._refusing = False
        self._connections = set()
        self._lock = threading.Lock()
        self._armed = None
        #: Set once what `cut_at` was asked for has been done.
        self.has_cut = threading.Event()

    def __enter__(self):
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.go_on()
        self.cut()

    def cut(self):
        """End all connections. New ones may be made."""
        with self._lock:
            connections = list(self._connections)
        for one in connections:
            one.cut()

    def cut_at(self, text, *, request=None, answer=None):
        """End the next connection that a request with `text` goes through; once.

        After so many bytes of what is sent with it (`request`), or of what comes then (`answer`):
        with 0 the server never hears of it, or the client never of the server's answer.
        """
        assert (request is None) != (answer is None)
        self.has_cut.clear()
        budget = (REQUEST, request) if request is not None else (ANSWER, answer)
        self._armed = text, budget

    def refuse(self):
        """End all connections, and new ones at once."""
        self._refusing = True
        self.cut()

    def stall(self):
        """Let nothing through."""
        self._flowing.clear()

    def go_on(self):
        """Let everything through again."""
        self._armed, self._refusing = None, False
        self._flowing.set()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._refusing:
                client.close()
                continue
            try:
                server = socket.create_connection(("127.0.0.1", self.server_port), timeout=5)
            except OSError:  # it is down
                client.close()
                continue
            server.settimeout(None)
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._connections.add(connection := _Connection(self, client, server))
            connection.start()

    def _budget(self, data):
        """What the connection that sends this may still forward, if it is the one to be cut."""
        with self._lock:
            if self._armed is None or self._armed[0] not in data:
                return None
            (_, budget), self._armed = self._armed, None
            return budget

    def _ended(self, connection):
        with self._lock:
            self._connections.discard(connection)


class _Connection:
    def __init__(self, proxy, client, server):
        self._proxy = proxy
        self._ends = client, server
        self._budget = None

    def start(self):
        client, server = self._ends
        for direction, source, sink in ((REQUEST, client, server), (ANSWER, server, client)):
            arguments = (direction, source, sink)
            threading.Thread(target=self._forward, args=arguments, daemon=True).start()

    def cut(self):
        self._proxy._ended(self)
        for end in self._ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _forward(self, direction, source, sink):
        with suppress(OSError):
            while data := source.recv(65536):
                self._proxy._flowing.wait()
                if direction == REQUEST:
                    self._budget = self._proxy._budget(data) or self._budget
                limited, left = self._budget or (None, None)
                if direction != limited:
                    sink.sendall(data)
                elif len(data) <= left and left:
                    sink.sendall(data)
                    self._budget = limited, left - len(data)
                else:
                    sink.sendall(data[:left])
                    self._proxy.has_cut.set()
                    break
        self.cut()
