"""A slow link: between a replica and its primary, which forwards so many bytes a second."""

import socket
import threading
import time
from contextlib import suppress


class SlowLink:
    """Forwards to a server of this host, and from there no faster than `rate`. A context manager.

    `rate` is in bytes a second: None for as fast as can be, 0 for nothing at all.
    """

    def __init__(self, server_port):
        self.server_port = server_port
        self.rate = None
        self._ends = []

    def __enter__(self):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.rate = None
        for one in (self._listener, *self._ends):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self):
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self.server_port))
                self._ends += [client, server]
                for source, sink, limited in ((client, server, False), (server, client, True)):
                    arguments = (source, sink, limited)
                    threading.Thread(target=self._forward, args=arguments, daemon=True).start()

    def _forward(self, source, sink, limited):
        with suppress(OSError):
            while data := source.recv(4096):
                while limited and self.rate == 0:
                    time.sleep(0.01)
                if limited and self.rate:
                    time.sleep(len(data) / self.rate)
                sink.sendall(data)
        for one in (source, sink):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
