"""What views leave out of a task's output, and what they never may."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from launcher.record import events as ev
from launcher.record.event_log import EventLog, read_events
from launcher.record.runs import RunFolder
from launcher.record.view import RunView
from launcher.views.console import PlainConsole
from launcher.views.noise import is_noise
from launcher.wire.roles import TaskId
from tests.launcher.timeline.test_timeline import BEGAN

NOISE = [
    "2026-01-02 03:04:05.678901: I tensorflow/core/platform/cpu_feature_guard.cc:182] This binary is optimized",
    "To enable the following instructions: AVX2 FMA, rebuild TensorFlow with the appropriate flags.",
    "2026-01-02 03:04:05.678901: E external/local_xla/xla/stream_executor/cuda/cuda_dnn.cc:9261] Unable to register"
    " cuDNN factory: Attempting to register factory for plugin cuDNN when one has already been registered",
    "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR",
    "I0000 00:00:1795397810.407917    3220 cudart_stub.cc:31] Could not find cuda drivers on your machine",
    "E0000 00:00:1795399102.465186   12479 cuda_platform.cc:52] failed call to cuInit: INTERNAL: CUDA error",
    "W0000 00:00:1795398577.963240   28702 local_rendezvous.cc:412] Local rendezvous is aborting with status",
    "2026-01-02 03:04:05.678 WARNING chief:0 deprecation.py:50] From x.py:9: f (from y) is deprecated and will be"
    " removed in a future version. Instructions for updating: Use z.",
    "WARNING:tensorflow:From x.py:9: f (from y) is deprecated and will be removed in a future version.",
    "Instructions for updating:",
    "\t [[{{node IteratorGetNext}}]]",
]
WORDS = [
    "",
    "loss = 0.5, step = 100",
    "2026-01-02 03:04:05.678 INFO chief:0 basic_session_run_hooks.py:262] loss = 0.5, step = 100",
    "INFO:tensorflow:Saving checkpoints for 0 into /m/model.ckpt.",
    "WARNING:tensorflow:Input graph does not use tf.data.Dataset",
    "2026-01-02 03:04:05.678901: E tensorflow/core/framework/op_kernel.cc:1768] OP_REQUIRES failed: shape [2] != [3]",
    "2026-01-02 03:04:05.678901: F tensorflow/core/framework/tensor.cc:733] Check failed: 1 == expected_dtype",
    "F0000 00:00:1795399102.465186   12479 tensor.cc:733] Check failed",
    "Traceback (most recent call last):",
    "tensorflow.python.framework.errors_impl.DataLossError: corrupted record at 0",
    "I think 2026-01-02 was a good day",
]


@pytest.mark.parametrize("line", NOISE)
def test_noise(line: str) -> None:
    assert is_noise(line)


@pytest.mark.parametrize("line", WORDS)
def test_what_is_no_noise(line: str) -> None:
    assert not is_noise(line)


@pytest.mark.parametrize("all_lines", [False, True])
def test_plain_output_leaves_noise_out_and_says_so(tmp_path: Path, all_lines: bool) -> None:
    folder = RunFolder.create(tmp_path, "r", BEGAN)
    task = TaskId.parse("chief:0")
    text = "\n".join([*NOISE, *WORDS]) + "\n"
    folder.log(task).write_text(text)
    log = EventLog(folder.events)
    tasks = ({"task": "chief:0", "host": "here"},)
    log.append(
        ev.RunStarted(run="r", name="r", pid=1, host="h", command=("x",), model_dir=None, run_dir="/r", tasks=tasks),
        BEGAN,
    )
    log.close()
    view, out = RunView(), io.StringIO()
    console = PlainConsole(view, folder, out, all_lines=all_lines)
    for recorded in read_events(folder.events):
        view.apply(recorded)
        console.show(recorded)
    console.stop(0.0)
    console.stop(0.0)
    shown = [line.removeprefix("chief:0 | ") for line in out.getvalue().splitlines() if line.startswith("chief:0")]
    assert shown == ([*NOISE, *WORDS] if all_lines else WORDS)
    assert out.getvalue().count(f"{len(NOISE)} lines of TensorFlow's own noise left out") == (0 if all_lines else 1)
    assert folder.log(task).read_text() == text
