"""Machine code that dies takes its process with it: a command runs it in a child, and what is left writes a reproducer."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable

__all__ = ["guard"]

FATAL = (signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGABRT)


def guard(died: Callable[[str], int]) -> None:
    """Go on in a child process; this one waits and ends with the child's exit code.

    Returns in the child alone. Where there is no fork, where other threads run, and with ``NERVURE_GUARD=off`` it
    returns at once, in this process.

    Args:
        died: called here with the name of the signal that killed the child; the exit code
    """
    if os.environ.get("NERVURE_GUARD") == "off" or not hasattr(os, "fork") or threading.active_count() > 1:
        return
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        return
    while True:
        try:
            _, status = os.waitpid(child, 0)
            break
        except KeyboardInterrupt:  # the child got it too, and says what there is to say
            continue
    code = os.waitstatus_to_exitcode(status)
    if code < 0 and -code in FATAL:
        code = died(signal.Signals(-code).name)
    sys.stderr.flush()
    os._exit(code if code >= 0 else 128 - code)
