"""Ends while a session is still being closed."""

import atexit
import sys
import threading
import time


class Last:
    def __del__(self) -> None:
        print("taken down")


last = Last()
atexit.register(print, "at exit")
threading.Thread(target=time.sleep, args=(600,), name="tflaunch-close", daemon=True).start()
sys.stdout.write("no newline")
sys.exit(int(sys.argv[1]) if sys.argv[1:] else "text")
