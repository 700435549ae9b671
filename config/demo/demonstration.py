"""The demonstration: what happens between the servers being ready and the account."""

import math
import os
import signal
import time
from collections.abc import Mapping

from rich.console import Console

from config.demo.customers import Customers
from config.demo.display import account, display
from config.demo.observer import Observer
from config.interruption import Interruption
from config.run_folder import RunFolder

ORDERS = 100
ORDERS_BEFORE_THE_KILL = 30

#: Seconds that events may stay pending after the last order.
PATIENCE = 60.0

console = Console()


def demonstrate(
    environment: Mapping[str, str], folder: RunFolder, interruption: Interruption
) -> bool:
    """Place orders, kill the worker meanwhile, and account for the events: whether all is right."""
    observer = Observer(environment)
    customers = Customers(environment["WEB_URL"], environment["OUTBOX_API_TOKEN"], ORDERS)
    console.print(f"{ORDERS} orders are placed and seen through over HTTP.")
    customers.start()
    killed, finished, deadline = False, False, math.inf
    with display(console, customers, observer) as view:
        while not finished:
            interruption.pause(0.1)
            busy = customers.busy  # asked before looking: the look then sees all that they did
            observer.look(list(customers.orders))
            view.show()
            if not killed and len(customers.orders) >= ORDERS_BEFORE_THE_KILL:
                _kill_worker(folder)
                killed = True
            if not busy:
                deadline = min(deadline, time.monotonic() + PATIENCE)
                finished = not observer.pending or time.monotonic() > deadline
    for failure in customers.failures[:5]:
        console.print(f"A command failed: {failure}", highlight=False, soft_wrap=True)
    history = observer.history(list(customers.orders))
    console.print(account(history, customers.commands))
    if observer.pending:
        console.print(f"{observer.pending} events are still pending after {PATIENCE:.0f} s.")
    return history.is_right and len(customers.done) == ORDERS


def _kill_worker(folder: RunFolder) -> None:
    worker = folder.pid("worker")
    if worker is not None:
        console.print(f"The worker (pid {worker}) is killed with SIGKILL; orders keep coming.")
        os.kill(worker, signal.SIGKILL)
