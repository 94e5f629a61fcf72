"""Processes that work for another one, and end when it does."""

from __future__ import annotations

import os
import threading
import time

_SECONDS_BETWEEN_LOOKS = 2.0
_watching = threading.Event()


def end_with(parent: int) -> None:
    """End this process soon after the process that started it is gone, even if that was killed.

    A killed comparison would otherwise leave workers behind that hold their memory for minutes.

    Parameters
    ----------
    parent : int
        Its process number; nothing is watched in a process that it did not start.
    """
    if _watching.is_set() or os.getppid() != parent:
        return
    _watching.set()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_SECONDS_BETWEEN_LOOKS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
