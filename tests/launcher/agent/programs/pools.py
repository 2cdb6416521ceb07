"""Pools, processes, queues and shared memory of multiprocessing, with the start method of the first argument."""

import multiprocessing
import os
import sys
from multiprocessing import shared_memory


class Point:
    """Pickled as __main__.Point."""

    def __init__(self, x: int) -> None:
        self.x = x


def double(point: Point) -> tuple[int, str, bool]:
    return point.x * 2, type(point).__module__, os.getpid() != os.getppid()


def worker(queue, lock) -> None:
    with lock:
        queue.put((sys.argv[1:], multiprocessing.current_process().name))


if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    print(multiprocessing.current_process(), multiprocessing.parent_process())
    with context.Pool(1) as pool:
        print(pool.map(double, [Point(n) for n in range(4)]))
    queue, lock = context.Queue(), context.Lock()
    process = context.Process(target=worker, args=(queue, lock))
    process.start()
    print(queue.get(timeout=60))
    process.join()
    print(process.exitcode)
    memory = shared_memory.SharedMemory(create=True, size=10)
    memory.close()
    memory.unlink()
    print("done", __name__)
else:
    print("imported as", __name__, flush=True)
