"""Causes: from how a task ended and what it wrote last to one sentence and an advice."""

from __future__ import annotations

import pytest

from launcher import causes, protocol

TRACEBACK = """Traceback (most recent call last):
  File "train.py", line 7, in <module>
    main()
  File "train.py", line 5, in main
    raise SomeError
{last}
"""


def exited(tail: str = "", *, code: int | None = 1, signal: int | None = None, oom: bool = False) -> protocol.Exited:
    return protocol.Exited(task="chief:0", attempt=1, exit_code=code, signal=signal, out_of_memory=oom, tail=tail)


@pytest.mark.parametrize(
    ("body", "kind", "permanent", "words"),
    [
        (
            exited(TRACEBACK.format(last="ValueError: bad row")),
            "exception",
            False,
            "ValueError: bad row (train.py:5 in main)",
        ),
        (exited(TRACEBACK.format(last="ModuleNotFoundError: No module named 'nmpy'")), "import", True, "nmpy"),
        (exited("/bin/python: No module named no.such"), "import", True, "there is no module no.such"),
        (
            exited("/bin/python: Error while finding module (ModuleNotFoundError: No module named 'no')"),
            "import",
            True,
            "there is no module no",
        ),
        (
            exited(TRACEBACK.format(last="tensorflow.x.NanLossDuringTrainingError: NaN loss during training.")),
            "nan_loss",
            True,
            "NaN loss",
        ),
        (exited("usage: t.py\nt.py: error: no --x", code=2), "arguments", True, "t.py: error: no --x"),
        (exited("", code=3), "exit", False, "exit code 3"),
        (exited("", code=None, signal=9), "signal", False, "SIGKILL"),
        (exited("", code=None, signal=9, oom=True), "out_of_memory", False, "out of memory"),
    ],
)
def test_what_a_death_is_called(body: protocol.Exited, kind: str, permanent: bool, words: str) -> None:
    cause = causes.of_exit("here", body)
    assert (cause.kind, cause.permanent, cause.task, cause.host) == (kind, permanent, "chief:0", "here")
    assert words in cause.message and cause.advice


def test_advice_names_the_run() -> None:
    advice = causes.to_json(causes.of_exit("here", exited(code=3)), run="my run")["advice"]
    assert str(advice).endswith("its whole output: tflaunch logs 'my run' chief:0")
