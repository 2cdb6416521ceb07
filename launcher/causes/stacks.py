"""The Python stacks of a task's threads, as its fault handler writes them."""

from __future__ import annotations

import re

from launcher.causes.traces import Frame

_THREAD = re.compile(r"^(?:Current thread|Thread) 0x[0-9a-f]+.*$", re.MULTILINE)
_FRAME = re.compile(r'^  File "(.+)", line (\d+) in (.+)\n?(?:    (.+))?$', re.MULTILINE)
_FRAMEWORK = re.compile(r"/(?:tensorflow|tensorflow_estimator|tf_keras|keras)/")
_OURS = re.compile(r"/launcher/(?:agent|estimator)/(?:\w+/)*\w+\.py$")
# What the innermost of these functions says about a thread inside TensorFlow.
_OPERATIONS = (
    ("_save", "saves a checkpoint"),
    ("save", "saves a checkpoint"),
    ("restore", "restores a checkpoint"),
    ("wait_for_session", "waits for the variables to be initialised"),
    ("prepare_session", "opens its session"),
    ("evaluate", "evaluates"),
    ("_train_with_estimator_spec", "is in a training step"),
    ("_call_tf_sessionrun", "is in session.run"),
)


def _threads(text: str) -> list[list[Frame]]:
    """The frames of each thread, innermost first; the thread that took the signal, as a rule the main one, last."""
    return [
        [
            Frame(path=match[1], line=int(match[2]), function=match[3], source=match[4] or "")
            for match in _FRAME.finditer(part)
        ]
        for part in _THREAD.split(text)
        if part.strip()
    ]


def own_frame(text: str) -> Frame | None:
    """The user's line at which a thread is, TensorFlow and we not being what it waits in. Below a call of the standard
    library, such as a lock or a queue, it is the line that made the call."""
    for frames in reversed(_threads(text)):
        for frame in frames:
            if _FRAMEWORK.search(frame.path) or _OURS.search(frame.path):
                break
            if not frame.is_library:
                return frame
    return None


def operation(text: str) -> str:
    """What TensorFlow is busy with, in words; empty where that is not known."""
    functions = {frame.function for frames in _threads(text) for frame in frames}
    return next((words for name, words in _OPERATIONS if name in functions), "")


def thread_of(text: str, frame: Frame | None) -> list[Frame]:
    """The frames of the thread that decides, without ours; empty where there is none."""
    found = next((frames for frames in reversed(_threads(text)) if frame in frames), [])
    return [each for each in found if not _OURS.search(each.path)]
