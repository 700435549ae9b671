"""Progress: how far long work has come, on a terminal's stderr and nowhere else."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Progress = Callable[[int], None]


@contextmanager
def progress(stderr: Any, total: int | None, what: str = "") -> Iterator[Progress]:
    """A function to be told how much is done: draws a bar, or without a `total`, counts.

    The last it drew stays there, however the work ends.
    """
    if not stderr.isatty():
        yield lambda done: None
        return

    drawn = False

    def show(done: int) -> None:
        nonlocal drawn
        drawn = True
        text = f"{done:,} {what}"
        if total is not None:
            # More may have come since they were counted.
            part = min(1.0, done / max(1, total))
            text = f"[{'#' * round(part * 30):30}] {part:4.0%}  {done:,} of {max(done, total):,}"
        stderr.write(f"\r{text}", style_func=str, ending="")
        stderr.flush()

    try:
        yield show
    finally:
        if drawn:
            stderr.write("", style_func=str)
