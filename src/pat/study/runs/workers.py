"""Worker processes that do not outlive the process that started them."""

import multiprocessing
import os
import threading


def follow_parent() -> None:
    """End a worker when the process that started it is gone, so that none is left behind."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
