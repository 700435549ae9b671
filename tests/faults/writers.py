"""Writers: clients that write notes, and remember what they were told is stored."""

import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

from outbox.errors import AggregateAlreadyExists, ConcurrencyError, StoreUnavailable
from tests import notes
from tests.notes import Note


class Writers:
    """Several clients at once, each with notes of its own, for as long as the `with` block lasts.

    `acknowledged` has the version of each note that its client was last told is stored. A client
    that is told nothing loads its note again and goes on from what it finds.
    """

    def __init__(self, clients=3, *, changes=20, pause=0.003):
        self.acknowledged = {}
        self.refused = 0
        self._clients = clients
        self._changes = changes
        self._pause = pause
        self._closing = threading.Event()

    def __enter__(self):
        self._pool = ThreadPoolExecutor(self._clients)
        self._running = [self._pool.submit(self._client) for _ in range(self._clients)]
        return self

    def __exit__(self, *_):
        self._closing.set()
        self._pool.shutdown()
        for one in self._running:
            one.result()

    def until(self, so_many, within=30):
        """Wait until so many more notes have been begun."""
        wanted, deadline = len(self.acknowledged) + so_many, time.monotonic() + within
        while len(self.acknowledged) < wanted:
            assert time.monotonic() < deadline, "nobody can write"
            time.sleep(0.01)

    def _client(self):
        while not self._closing.is_set():
            self._live(f"note-{uuid.uuid4().hex[:12]}")

    def _live(self, note_id):
        repository, note = notes.repository(), None
        for number in range(self._changes):
            if self._closing.wait(self._pause):
                return
            try:
                if note is None:
                    note = Note(note_id)
                    note.write(str(number))
                    repository.add(note)
                else:
                    note.write(str(number))
                    repository.save(note)
            except (StoreUnavailable, AggregateAlreadyExists, ConcurrencyError):
                # It may be stored; the next to come is told apart by its version.
                self.refused += 1
                note = self._loaded(repository, note_id)
            else:
                self.acknowledged[note_id] = note.version

    def _loaded(self, repository, note_id):
        while not self._closing.is_set():
            try:
                return repository.get(note_id)
            except StoreUnavailable:
                time.sleep(0.05)
            except LookupError:
                return None
        return None
