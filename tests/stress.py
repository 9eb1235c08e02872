"""What compiled programs must stand: many callers at once, forks, busy neighbours. `run(x)` gives one array or several."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

__all__ = ["arrays", "beside_busy_processes", "callers", "forks"]


def arrays(found: Any) -> list[np.ndarray[Any, Any]]:
    """The results of a run as a list."""
    return [np.array(a) for a in (found if isinstance(found, tuple | list) else (found,))]


def agrees(run: Any, x: Any, want: list[np.ndarray[Any, Any]]) -> bool:
    """Whether a run gives these bits."""
    return all((a == b).all() for a, b in zip(arrays(run(x)), want, strict=True))


def callers(run: Any, x: Any, count: int, calls: int) -> None:
    """So many threads make so many calls each: no hang, no difference."""
    want, wrong = arrays(run(x)), list[int]()

    def call(seed: int) -> None:
        for _ in range(calls):
            if not agrees(run, x, want):
                wrong.append(seed)

    threads = [threading.Thread(target=call, args=(k,)) for k in range(count)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(120)
        assert not t.is_alive(), "a caller hangs"
    assert not wrong


def forks(run: Any, x: Any, count: int) -> None:
    """So many children after use, each of which calls, and the parent in between."""
    want = arrays(run(x))
    for _ in range(count):
        child = os.fork()
        if child == 0:
            code = 2
            try:
                code = 0 if all(agrees(run, x, want) for _ in range(3)) else 1
            finally:
                os._exit(code)
        deadline = threading.Timer(60, lambda pid=child: os.kill(pid, 9))
        deadline.start()
        _, status = os.waitpid(child, 0)
        deadline.cancel()
        assert status == 0, f"a child ended with status {status}"
        assert agrees(run, x, want)


@contextmanager
def beside_busy_processes() -> Iterator[None]:
    """One more busy process than there are processors."""
    hogs = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range((os.cpu_count() or 1) + 1)
    ]
    try:
        yield
    finally:
        for hog in hogs:
            hog.kill()
            hog.wait()
