"""What happens at the end, in which order."""

import atexit
import sys
import threading
import weakref


class Said:
    def __init__(self, text: str) -> None:
        self.text = text

    def __del__(self) -> None:
        print("deleted", self.text)


def function() -> None:
    pass


kept = Said("global")
cycle = [Said("in a cycle")]
cycle.append(cycle)
atexit.register(lambda: print("registered first", "__file__" in globals(), "__spec__" in globals()))
atexit.register(lambda: print("registered last", threading.active_count()))
weakref.finalize(function, print, "finalized")
sys.stdout.write("not flushed by the program")
