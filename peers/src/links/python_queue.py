"""Measures multiprocessing.Queue: one process puts, another gets and checks every message.

    python3 python_queue.py SIZE DEPTH SECONDS CPU_PUT CPU_GET

prints one JSON object: "version" of Python, "messages" received, "seconds" they took, "wrong" ones among them.
"""

import json
import multiprocessing
import os
import platform
import sys
import time

STOP = b""


def message(number, size):
    """The bytes of message `number`: its number, over and over."""
    return number.to_bytes(8, "little") * (size // 8)


def put(queue, size, seconds, cpu):
    os.sched_setaffinity(0, {cpu})
    number, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        queue.put(message(number, size))
        number += 1
    queue.put(STOP)


def main():
    size, depth = int(sys.argv[1]), int(sys.argv[2])
    seconds = float(sys.argv[3])
    cpu_put, cpu_get = int(sys.argv[4]), int(sys.argv[5])

    queue = multiprocessing.Queue(depth)
    putting = multiprocessing.Process(target=put, args=(queue, size, seconds, cpu_put), daemon=True)
    putting.start()
    os.sched_setaffinity(0, {cpu_get})

    number, wrong, start = 0, 0, None
    while (got := queue.get()) != STOP:
        start = start or time.monotonic()
        wrong += got != message(number, size)
        number += 1
    took = time.monotonic() - (start or time.monotonic())
    putting.join()
    print(json.dumps({
        "version": platform.python_version(),
        "messages": number,
        "seconds": took,
        "wrong": wrong,
    }))


if __name__ == "__main__":
    main()
