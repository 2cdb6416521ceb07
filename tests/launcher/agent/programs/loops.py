"""asyncio, executors and signals together."""

import asyncio
import concurrent.futures
import os
import signal
import sys


def work(number: int) -> int:
    return number * number


async def main() -> None:
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", "print('child')")
    print(await process.wait(), await loop.run_in_executor(None, work, 3))
    os.kill(os.getpid(), signal.SIGTERM)
    await stopped.wait()
    print("stopped")


asyncio.run(main())
with concurrent.futures.ThreadPoolExecutor() as executor:
    print(list(executor.map(work, range(3))))
print(concurrent.futures.ThreadPoolExecutor().submit(work, 4).result())
