"""The demonstration: what happens between the servers being ready and the account."""

import math
import os
import secrets
import signal
import time
from collections.abc import Mapping

from rich.console import Console

from config.demo import staff
from config.demo.customers import Customers
from config.demo.display import account, display
from config.demo.observer import Observer
from config.embedded import own_servers
from config.interruption import Interruption
from config.run_folder import RunFolder

ORDERS = 100

#: Who is killed once so many orders have been placed, and what goes on meanwhile.
KILLS = {"worker": (30, "orders keep coming"), "consumer": (60, "events wait on the streams")}

#: Products without stock, which are always to be had.
UNMANAGED = ("WIDGET-01", "WIDGET-02")

#: Seconds that anything may be on its way after the last order.
PATIENCE = 60.0

console = Console()


def demonstrate(
    environment: Mapping[str, str], folder: RunFolder, interruption: Interruption
) -> bool:
    """Set stock, have orders placed, kill who works on them, and account for it: is all right?"""
    url, token = environment["WEB_URL"], environment["OUTBOX_API_TOKEN"]
    # On servers that others use too, theirs may be products of the same names.
    suffix = f"-{secrets.token_hex(2)}" if own_servers() else ""
    on_hand = {f"{sku}{suffix}": number for sku, number in staff.ON_HAND.items()}
    observer = Observer(environment, staff.set_stock(url, token, on_hand), folder.log("consumer"))
    customers = Customers(url, token, ORDERS, [*UNMANAGED, *on_hand])
    _say(f"Stock is set: {', '.join(f'{n} {sku}' for sku, n in on_hand.items())}.")
    _say(f"{ORDERS} orders are placed and seen through over HTTP.")
    customers.start()
    to_kill, finished, deadline = dict(KILLS), False, math.inf
    with display(console, customers, observer) as view:
        while not finished:
            interruption.pause(0.1)
            busy = customers.busy  # asked before looking: the look then sees all that they did
            observer.look(list(customers.orders))
            view.show()
            for name, (orders, meanwhile) in list(to_kill.items()):
                if len(customers.orders) >= orders:
                    _kill(folder, name, meanwhile)
                    del to_kill[name]
            if not busy:
                deadline = min(deadline, time.monotonic() + PATIENCE)
                closed = observer.circle.is_closed and not observer.pending
                finished = closed or time.monotonic() > deadline
    for failure in customers.failures[:5]:
        _say(f"A command failed: {failure}")
    history = observer.history(list(customers.orders))
    console.print(account(history, observer.circle, customers.commands))
    if observer.pending:
        _say(f"{observer.pending} events are still pending after {PATIENCE:.0f} s.")
    if observer.circle.awaiting:
        _say(f"{len(observer.circle.awaiting)} orders still await stock.")
    return history.is_right and observer.circle.is_closed and len(customers.done) == ORDERS


def _kill(folder: RunFolder, name: str, meanwhile: str) -> None:
    pid = folder.pid(name)
    if pid is not None:
        _say(f"The {name} (pid {pid}) is killed with SIGKILL; {meanwhile}.")
        os.kill(pid, signal.SIGKILL)


def _say(text: str) -> None:
    console.print(text, highlight=False, soft_wrap=True)
