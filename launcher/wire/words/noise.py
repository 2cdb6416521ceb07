"""Which lines of a task are TensorFlow talking to itself: one table. Views, last lines and evidence leave them out; the
log files have all of it.

What counts says nothing about the user's program: messages of C++ below errors, deprecations of what tf.estimator
itself uses, and warnings that a healthy canned Estimator causes. The further lines of a message go with its first one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache

from launcher.wire.forms.named import NamedTuple


class Kind(NamedTuple):
    """A kind of message. ``first``: a line that is noise wherever it stands; ``more``: what is noise right behind it,
    too, at most ``most`` lines; ``example``: a message as it was seen."""

    first: str
    example: str
    more: str = ""
    most: int = 0


# What C++ begins a line with: "2026-01-02 03:04:05.678901: I tensorflow/core/...:182] " up to TensorFlow 2.15, later
# "I0000 00:00:1795397810.407917    3220 master.cc:243] ".
_CPP = (
    r"(?:\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+: {level} \S+?:\d+\] "
    r"|{level}\d{{4}} [\d:.]+\s+\d+ [\w./-]+\.(?:cc|h|cpp):\d+\] )"
)
_WARNING = r"(?:WARNING:tensorflow:|[\d: .-]+ WARNING \S+ \S+\.py:\d+\] )"

KINDS = (
    Kind(
        first=_CPP.format(level="[IW]"),
        more=r"To enable the following instructions:|\s+\[\["
        r"|Additional GRPC error information from remote target |:(?:UNKNOWN:Error received from peer|\{\"created\")",
        most=9,
        example="2026-01-02 03:04:05.678901: W tensorflow/core/framework/local_rendezvous.cc:404] Local rendezvous is "
        "aborting with status: OUT_OF_RANGE: End of sequence\n\t [[{{node IteratorGetNext}}]]",
    ),
    Kind(  # goes on behind a message of C++; a reader may begin in the middle of it
        first=r"goo\.gle/debug\w+\s*$|\s*type_id: TFT_\w+$| is neither a subtype nor a supertype of "
        r"|\tfor Tuple type infernce function |\twhile inferring type of node ",
        more=r"\s*(?:args \{|\})?$",
        most=9,
        example="type_id: TFT_OPTIONAL\nargs {\n  type_id: TFT_INT64\n}\n is neither a subtype nor a supertype of the "
        "combined inputs preceding it:\ngoo.gle/debugonly   \ntype_id: TFT_OPTIONAL\n\n\tfor Tuple type infernce "
        "function 0\n\twhile inferring type of node 'dnn/zero_fraction/cond/output/_18'",
    ),
    Kind(  # errors only in name: what a TensorFlow built for GPUs says on a machine that has none
        first=_CPP.format(level="E") + r".*(?:cuInit|cuda drivers|Unable to register cu\w+ factory|computation.placer"
        r"|libcudart|GPU will not be)",
        example="E0000 00:00:1795399102.465186   12479 cuda_platform.cc:52] failed call to cuInit: INTERNAL: CUDA",
    ),
    Kind(
        first=r"WARNING: All log messages before absl::InitializeLog\(\)",
        example="WARNING: All log messages before absl::InitializeLog() is called are written to STDERR",
    ),
    Kind(
        first=r".*\bis deprecated and will be removed (?:in a future version|after \d{4}-\d\d-\d\d)\.",
        example="WARNING:tensorflow:From x.py:9: f (from y) is deprecated and will be removed in a future version.",
    ),
    Kind(
        first=r"Instructions for updating:",
        most=1,
        example="Instructions for updating:\nUse tf.keras instead.",
    ),
    Kind(
        first=_WARNING + r"From .*: The name \S+ is deprecated\. Please use \S+ instead\.",
        more=r"$",
        most=1,
        example="WARNING:tensorflow:From x.py:9: The name tf.ls is deprecated. Please use tf.compat.v1.ls instead.\n",
    ),
    Kind(  # workers see the step that others make a little late; whether it rises at all, the run itself looks
        first=_WARNING + r"It seems that global step \(tf\.train\.get_global_step\) has not been increased\.",
        example="WARNING:tensorflow:It seems that global step (tf.train.get_global_step) has not been increased. "
        "Current value (could be stable): 101 vs previous value: 101.",
    ),
    Kind(
        first=_WARNING + r"(?:Trapezoidal rule is known to produce incorrect PR-AUCs"
        r"|No new checkpoint ready for evaluation\. Skip the current evaluation pass"
        r"|Estimator is not trained yet\. Will start an evaluation when a checkpoint is ready)",
        example="2026-01-02 03:04:05.678 WARNING evaluator:0 metrics_impl.py:988] Trapezoidal rule is known to produce "
        'incorrect PR-AUCs; please switch to "careful_interpolation" instead.',
    ),
)


class Quiet:
    """Leaves noise out of the lines of one task, which may come in portions."""

    def __init__(self) -> None:
        self._more: re.Pattern[str] | None = None
        self._left = 0

    def kept(self, lines: Iterable[str]) -> list[str]:
        """The lines that say something."""
        return [line for line in lines if not self._is_noise(line)]

    def _is_noise(self, line: str) -> bool:
        first, more = _patterns()
        if (match := first.match(line)) is not None:
            at = (match.lastindex or 1) - 1
            self._more, self._left = more[at], KINDS[at].most
            return True
        self._left -= 1
        if self._left < 0 or self._more is None or self._more.match(line) is None:
            self._more = None
            return False
        return True


@cache
def _patterns() -> tuple[re.Pattern[str], tuple[re.Pattern[str], ...]]:
    """The first lines of all kinds, a group for each, and the further ones. Not at import: every agent imports this."""
    return re.compile("|".join(f"({kind.first})" for kind in KINDS)), tuple(re.compile(kind.more) for kind in KINDS)
