"""What is left out of a task's output, and what never may be."""

from __future__ import annotations

from pathlib import Path

import pytest

from launcher.wire.words.noise import KINDS, Quiet

# Everything that ps, chief and evaluator of a healthy canned DNNClassifier wrote.
RECORDED = sorted((Path(__file__).parent / "recorded").iterdir())
WORDS = [
    "",
    "}",
    "args {",
    "loss = 0.5, step = 100",
    "2026-01-02 03:04:05.678 INFO chief:0 basic_session_run_hooks.py:262] loss = 0.5, step = 100",
    "2026-01-02 03:04:05.678 WARNING chief:0 train.py:12] this data is old",
    "INFO:tensorflow:Saving checkpoints for 0 into /m/model.ckpt.",
    "WARNING:tensorflow:Input graph does not use tf.data.Dataset",
    "2026-01-02 03:04:05.678901: E tensorflow/core/framework/op_kernel.cc:1768] OP_REQUIRES failed: shape [2] != [3]",
    "2026-01-02 03:04:05.678901: F tensorflow/core/framework/tensor.cc:733] Check failed: 1 == expected_dtype",
    "F0000 00:00:1795399102.465186   12479 tensor.cc:733] Check failed",
    "Traceback (most recent call last):",
    "tensorflow.python.framework.errors_impl.DataLossError: corrupted record at 0",
    "\t [[{{node IteratorGetNext}}]]",
    "I think 2026-01-02 was a good day",
]
MORE = [  # seen in other programs
    "2026-01-02 03:04:05.678901: I tensorflow/core/platform/cpu_feature_guard.cc:182] This binary is optimized\n"
    "To enable the following instructions: AVX2 FMA, rebuild TensorFlow with the appropriate flags.",
    "2026-01-02 03:04:05.678901: E external/local_xla/xla/stream_executor/cuda/cuda_dnn.cc:9261] Unable to register"
    " cuDNN factory: Attempting to register factory for plugin cuDNN when one has already been registered",
    "I0000 00:00:1795397810.407917    3220 cudart_stub.cc:31] Could not find cuda drivers on your machine",
    "2026-01-02 03:04:05.678 WARNING chief:0 deprecation.py:50] From x.py:9: f (from y) is deprecated and will be"
    " removed in a future version. Instructions for updating: Use z.",
    "WARNING:tensorflow:From x.py:9: f (from y) is deprecated and will be removed after 2020-10-23.\n"
    "Instructions for updating:\nnon-resource variables are not supported in the long term",
    "W0000 00:00:1795398577.963240   28702 grpc_worker_service.cc:536] RecvTensor cancelled for 7\n"
    "Additional GRPC error information from remote target /job:ps/replica:0/task:0 while calling /tensorflow.W/R:\n"
    ':UNKNOWN:Error received from peer  {grpc_message:"Socket closed", grpc_status:14}\n\t [[baseline/zeros_S1]]',
]


@pytest.mark.parametrize("text", [*(kind.example for kind in KINDS), *MORE])
def test_a_message_goes_with_all_its_lines(text: str) -> None:
    assert Quiet().kept(text.split("\n")) == []


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_nothing_is_left_of_a_healthy_canned_job(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert len(lines) > 80
    assert Quiet().kept(lines) == []
    heads = [lines[0], next(line for line in lines if "type_inference.cc" in line), lines[-1]]
    for head in heads:  # what a program prints between two messages stays
        at = lines.index(head)
        assert Quiet().kept([*lines[:at], "step 7", "", "}", *lines[at:]]) == ["step 7", "", "}"]


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_portions_make_no_difference(path: Path) -> None:
    quiet = Quiet()
    assert [line for each in path.read_text().splitlines() for line in quiet.kept([each])] == []


@pytest.mark.parametrize("line", WORDS)
def test_what_is_no_noise(line: str) -> None:
    assert Quiet().kept([line]) == [line]
    assert Quiet().kept(["WARNING: All log messages before absl::InitializeLog() is called", line]) == [line]


def test_a_long_line_costs_little() -> None:
    for line in ("WARNING " * 20_000, "From The name " * 10_000, " type_id: " * 10_000, "W0000 " * 10_000):
        assert Quiet().kept([line]) == [line]
