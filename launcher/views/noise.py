"""Which lines of a task are TensorFlow talking to itself. Views leave them out; the log files have all of it."""

from __future__ import annotations

import re

# From C++: "2026-01-02 03:04:05.678901: I tensorflow/core/…" or "I0102 03:04:05.678901 1234 file.cc:56] …".
_CPP_HEAD = (
    r"(?:\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+: (?P<a>[IWEF]) \S+?:\d+\] "
    r"|(?P<b>[IWEF])\d{4} [\d:.]+\s+\d+ [\w./-]+\.(?:cc|h|cpp):\d+\] )"
)
_CPP = re.compile(_CPP_HEAD)
# Errors only in name: what a TensorFlow built for GPUs says on a machine that has none.
_NO_GPU = re.compile(
    r"cuInit|cuda drivers|Unable to register cu\w+ factory|computation_placer|libcudart|GPU will not be"
)
_NOISE = re.compile(
    r"WARNING: All log messages before absl::InitializeLog\(\)"
    r"|To enable the following instructions:"
    r"|Instructions for updating:"
    r"|.* is deprecated and will be removed in a future version\."
    r"|This API was designed for TensorFlow v1\."
    r"|Use tf\.keras instead|Call initializer instance with the dtype argument"
    r"|non-resource variables are not supported in the long term"
    r"|\s+\[\[\{\{node .*\}\}\]\]\s*$"
    r"|.*Local rendezvous is aborting"
)


def is_noise(line: str) -> bool:
    """Whether the line says nothing about the user's program: C++ messages below errors, and deprecations of what
    tf.estimator itself uses."""
    match = _CPP.match(line)
    if match is not None:
        return (match["a"] or match["b"]) in "IW" or _NO_GPU.search(line) is not None
    return _NOISE.match(line) is not None
