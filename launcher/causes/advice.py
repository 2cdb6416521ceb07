"""What to do about a failure: the advice of a rule, with what is known of this one."""

from __future__ import annotations

import re
import shlex

from launcher.causes.evidence import Evidence, remark
from launcher.causes.traces import Raised
from launcher.causes.words import limits, metrics_there
from launcher.wire import protocol

_NO_ATTRIBUTE = re.compile(r"module '([\w.]+)' has no attribute '(\w+)'")


def filled(advice: str, evidence: Evidence, where: str, link: Raised | None = None) -> str:
    """The advice. ``where``: the user's line, empty if it is not known."""
    known, body = evidence.known, evidence.body
    return advice.format(
        where=where or "it",
        task=body.task,
        model=f" (now {known.model_dir})" if known.model_dir else "",
        model_space=f"; the model is in {known.model_dir}" if known.model_dir else "",
        metrics=metrics_there(known.metrics, link.text if link is not None else ""),
        limit=limits(body),
        key=_key(link),
        tf1=_of_tensorflow_1(link),
        file=remark(evidence, protocol.DAMAGED_FILE) or "that file",
        paths=shlex.quote(remark(evidence, protocol.DAMAGED_FILE))
        if remark(evidence, protocol.DAMAGED_FILE)
        else "PATHS",
        good=remark(evidence, protocol.GOOD_CHECKPOINT) or "an older checkpoint that is whole",
    )


def _of_tensorflow_1(link: Raised | None) -> str:
    """What to write for a name that TensorFlow 2 does not have."""
    found = _NO_ATTRIBUTE.search(link.text) if link is not None else None
    if found is None:
        return "tf.compat.v1"
    if found[2] == "contrib":
        return "what tf.compat.v1 or another package has in place of tf.contrib, which is gone"
    module = found[1].rpartition("v2.")[2] + "." if "v2." in found[1] else ""
    return f"tf.compat.v1.{module}{found[2]} (or `import tensorflow.compat.v1 as tf`)"


def _key(link: Raised | None) -> str:
    """Of a KeyError."""
    return link.text.strip().strip("'\"") if link is not None else ""
