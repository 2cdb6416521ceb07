"""Threads that end, that outlive the main thread, that raise, that exit."""

import atexit
import sys
import threading
import time


def outlive() -> None:
    main = threading.main_thread()
    main.join()
    print("main thread is over", main.is_alive(), threading.current_thread().name)
    time.sleep(0.05)
    print("thread ends")


def fail() -> None:
    raise ValueError("in a thread")


def leave() -> None:
    sys.exit("text of a thread")


def forever() -> None:
    while True:
        time.sleep(0.01)


atexit.register(lambda: print("atexit"))
print(threading.active_count(), threading.current_thread(), threading.current_thread() is threading.main_thread())
print(threading.main_thread().ident == threading.get_ident(), threading.get_native_id() > 0)
for name, daemon in (("fail", False), ("leave", False), ("outlive", False), ("forever", True)):
    thread = threading.Thread(target=globals()[name], name=name, daemon=daemon)
    thread.start()
    if name in ("fail", "leave"):
        thread.join()
print("main ends")
