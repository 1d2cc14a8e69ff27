"""A worker in a process of its own on this machine: told what to do through a socket, gone when its parent is.

    python -m headstart.core.extract.distributed.child FD

Both ends are ours, so that pickles may go through it.
"""

import os
import queue
import sys
import threading
from multiprocessing.connection import Connection
from typing import Any


def main() -> None:
    """Answer until the parent ends."""
    os.dup2(2, 1)  # results are the parent's to print
    parent = Connection(int(sys.argv[1]))
    asked: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(parent, asked), daemon=True).start()
    brief, device, threads = asked.get()

    import torch

    from headstart.core.extract.distributed.worker import Worker

    torch.set_num_threads(threads)
    worker = Worker(brief, device, lambda rows: parent.send(("advanced", rows)))
    while True:
        what, given = asked.get()
        parent.send(("answer", worker.answer(what, *given)))


def _listen(parent: Connection, asked: "queue.SimpleQueue[Any]") -> None:
    """Take what the parent asks; without it nobody waits for an answer, and a device must not stay taken."""
    try:
        while True:
            asked.put(parent.recv())
    except (EOFError, OSError):
        os._exit(1)


if __name__ == "__main__":
    main()
