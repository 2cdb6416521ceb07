"""Uncaught exceptions, by name."""

import sys


class OwnError(Exception):
    """Has a text of several lines."""

    def __str__(self) -> str:
        return "first\nsecond ü"


def plain() -> None:
    value = {"key": 1}
    value["missing"]  # the line that the traceback shows


def cause() -> None:
    try:
        plain()
    except KeyError as error:
        raise OwnError from error


def context() -> None:
    try:
        plain()
    finally:
        raise ValueError("while another was handled")


def suppressed() -> None:
    try:
        plain()
    except KeyError:
        raise OwnError from None


def recursion(depth: int = 0) -> None:
    recursion(depth + 1)


def library() -> None:
    import json

    json.loads("{")


def compiled() -> None:
    exec(compile("1 +\n", "<made>", "exec"))


def importing() -> None:
    import no_such_module  # noqa: F401


def interrupt() -> None:
    raise KeyboardInterrupt


def base() -> None:
    raise BaseException("no Exception")


def generator() -> None:
    print(sum(1 / n for n in (1, 0)))


def excepthook() -> None:
    sys.excepthook = lambda kind, value, trace: print("hook", kind, value, trace.tb_lineno, trace.tb_next is None)
    plain()


def last() -> None:
    import atexit

    atexit.register(lambda: print("last", sys.last_type, sys.last_traceback.tb_frame.f_code.co_name))
    plain()


def unraisable() -> None:
    class Bad:
        def __del__(self) -> None:
            raise ValueError("in __del__")

    Bad()


globals()[sys.argv[1]]()
