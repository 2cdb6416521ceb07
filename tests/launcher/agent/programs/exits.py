"""Ends in the way that its argument names."""

import os
import signal
import sys

WAYS = {
    "nothing": lambda: None,
    "none": lambda: sys.exit(None),
    "zero": lambda: sys.exit(0),
    "three": lambda: sys.exit(3),
    "large": lambda: sys.exit(300),
    "negative": lambda: sys.exit(-1),
    "text": lambda: sys.exit("the end: 'ü' \n second line"),
    "tuple": lambda: sys.exit((1, 2)),
    "bool": lambda: sys.exit(True),
    "os": lambda: os._exit(7),
    "term": lambda: os.kill(os.getpid(), signal.SIGTERM),
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "int": lambda: os.kill(os.getpid(), signal.SIGINT),
    "abort": lambda: os.kill(os.getpid(), signal.SIGHUP),
}


def end() -> None:
    WAYS[sys.argv[1]]()


print("before")
try:
    end()
finally:
    print("finally")
print("after")
