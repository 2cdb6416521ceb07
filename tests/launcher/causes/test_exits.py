"""Causes: from how a task ended and what it wrote last to one sentence and an advice."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import launcher
from launcher import causes
from launcher.causes.traces import Frame
from launcher.wire import protocol

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


def raised(text: str, source: str = "raise", path: str = "/work/train.py") -> str:
    """A traceback that ends so."""
    return f'Traceback (most recent call last):\n  File "{path}", line 5, in main\n    {source}\n{text}\n'


def of_raised(text: str) -> causes.Cause:
    return causes.of_exit("here", protocol.changed(exited(), raised=text))


MISMATCH = """x.InvalidArgumentError: Restoring from checkpoint failed. This is most \
likely due to a mismatch between the current graph and the graph from the checkpoint. Original error:

From /job:ps/replica:0/task:0:
Assign requires shapes of both tensors to match. lhs shape= [4,8] rhs shape= [4,4]
\t [[{{node save/Assign_2}}]]
"""
ESTIMATOR = "/venv/lib/python3.11/site-packages/tensorflow_estimator/python/estimator/early_stopping.py"
IMPORT_LIMIT = "ImportError: libtensorflow_cc.so.2: failed to map segment from shared object"


@pytest.mark.parametrize(
    ("text", "kind", "permanent", "words"),
    [
        (raised("FileNotFoundError: [Errno 2] No such file or directory: '/d/x'"), "missing_input", True, "/d/x"),
        (raised('ValueError: If "cluster" is set in TF_CONFIG, it must have one "chief" node.'),
         "tf_config", True, "an Estimator needs a chief"),
        (raised("x.NotFoundError: No files matched pattern: /d/*"), "missing_input", True, "/d/*"),
        (raised("x.InvalidArgumentError: Feature: z (data type: float) is required but could not be found."),
         "bad_input", True, "Feature: z"),
        (raised("x.UnknownError: BadDataError: /d/x: record 3 at byte 9: cut off"), "bad_input", True, "byte 9"),
        (raised("x.DataLossError: corrupted record at 0"), "bad_input", True, "corrupted record"),
        (raised("x.InvalidArgumentError: indices[1,7] = 9 is not in [0, 9)"), "bad_input", True, "outside of its"),
        (raised(MISMATCH), "checkpoint_mismatch", True, "Assign requires shapes"),
        (raised("x.NotFoundError: Key hidden/kernel not found in checkpoint"), "checkpoint_mismatch", True, "hidden"),
        (raised("ValueError: The passed save_path is not a valid checkpoint: /m/model.ckpt-5"),
         "checkpoint_missing", False, "model.ckpt-5"),
        (raised("OSError: [Errno 28] No space left on device"), "disk_full", True, "No space"),
        (raised("x.ResourceExhaustedError: /m/graph; No space left on device"), "disk_full", True, "/m/graph"),
        (raised("OSError: [Errno 122] Disk quota exceeded: '/m'"), "disk_full", True, "quota"),
        (raised("OSError: [Errno 24] Too many open files: '/dev/null'"), "limit", False, "open files"),
        (raised("RuntimeError: can't start new thread"), "limit", False, "thread"),
        (raised("PermissionError: [Errno 13] Permission denied: '/m/x'"), "permission", True, "/m/x"),
        (raised("OSError: [Errno 30] Read-only file system: '/m'"), "permission", True, "Read-only"),
        (raised("MemoryError"), "out_of_memory", False, "out of memory"),
        (raised("numpy._ArrayMemoryError: Unable to allocate 20. GiB"), "out_of_memory", False, "20. GiB"),
        (raised("x.ResourceExhaustedError: OOM when allocating tensor with shape[9]"), "out_of_memory", False, "OOM"),
        (raised(IMPORT_LIMIT), "out_of_memory", False, "failed to map"),
        (raised("OSError: [Errno 98] Address already in use"), "port", False, "in use"),
        (raised("absl.UnrecognizedFlagError: Unknown command line flag 'x'"), "arguments", True, "'x'"),
        (raised("KeyError: 'acuracy'", path=ESTIMATOR), "metric", True, "acuracy"),
        (raised("x.UnavailableError: Socket closed"), "ps_unreachable", False, "Socket closed"),
        (raised("x.InvalidArgumentError: Tensor had NaN values"), "nan_loss", True, "NaN"),
        ('  File "/work/train.py", line 3\n    def f(:\n        ^\nSyntaxError: invalid', "syntax", True, "train.py:3"),
        (raised("SystemExit: no data in /d"), "exit", False, '"no data in /d" (/work/train.py:5 in main)'),
        (raised("SystemExit: python: No module named nosuch", "sys.exit(e)"), "import", True, "nosuch"),
        (raised("SystemExit: 1", "sys.exit(1)"), "exit", False, "exit code 1 (/work/train.py:5 in main)"),
        (raised("__main__.Odd"), "exception", False, "raised Odd (/work/train.py:5 in main)"),
    ],
)  # fmt: skip
def test_kinds_of_exceptions(text: str, kind: str, permanent: bool, words: str) -> None:
    cause = of_raised(text)
    assert (cause.kind, cause.permanent) == (kind, permanent) and kind in causes.KINDS
    assert words in cause.message and cause.advice and "{" not in cause.advice


def in_chain(first: str, words: str, second: str) -> protocol.Exited:
    text = f"{first}\n{words}\n\n{second}"
    return protocol.Exited(task="chief:0", attempt=1, exit_code=1, signal=None, raised=text)


MEANWHILE = "During handling of the above exception, another exception occurred:"
BECAUSE = "The above exception was the direct cause of the following exception:"


@pytest.mark.parametrize(
    ("first", "link", "second", "named"),
    [
        (raised("KeyError: 'x'", "d['x']"), MEANWHILE, raised("SystemExit: 1", "sys.exit(1)"), "KeyError: 'x'"),
        (raised("KeyError: 'x'", "d['x']"), MEANWHILE, raised("NameError: name 'lg'", "lg(x)"), "KeyError: 'x'"),
        (raised("KeyError: 'x'", "d['x']"), MEANWHILE, raised("ValueError: no x", "raise ValueError('no x')"), "no x"),
        (raised("KeyError: 'x'", "d['x']"), BECAUSE, raised("ValueError: no x", "check(x)"), "ValueError: no x"),
        (
            raised("FileNotFoundError: cache", "open(c)"),
            MEANWHILE,
            raised("TypeError: odd", "raise TypeError()"),
            "odd",
        ),
    ],
)
def test_which_exception_of_a_chain_matters(first: str, link: str, second: str, named: str) -> None:
    cause = causes.of_exit("here", in_chain(first, link, second))
    assert cause.message.partition(", from ")[0].count(named) == 1 and "missing" not in cause.kind


def test_rules_look_at_what_an_exception_was_raised_from() -> None:
    body = in_chain(raised("OSError: [Errno 28] No space left on device"), BECAUSE, raised("RuntimeError: save failed"))
    assert causes.of_exit("here", body).kind == "disk_full"


def test_a_logged_traceback_does_not_explain_another_exit() -> None:
    log = TRACEBACK.format(last="ValueError: handled") + "going on\n" * 40
    body = protocol.Exited(task="chief:0", attempt=1, exit_code=3, signal=None, tail="going on", excerpt=log)
    assert causes.of_exit("here", body).kind == "exit"


@pytest.mark.parametrize(("code", "kind"), [(137, "signal"), (139, "signal"), (127, "missing_input"), (126, "exit")])
def test_exit_codes_of_shells(code: int, kind: str) -> None:
    cause = causes.of_exit("here", exited("run.sh: line 2: pyton: command not found", code=code))
    assert cause.kind == kind


def test_a_misspelt_metric_is_corrected() -> None:
    body = protocol.Exited(
        task="chief:0", attempt=1, exit_code=1, signal=None, raised=raised("KeyError: 'acuracy'", path=ESTIMATOR)
    )
    cause = causes.of_exit("here", body, causes.Known(metrics=("accuracy", "loss")))
    assert cause.advice.endswith(": there are accuracy, loss; did you mean 'accuracy' instead of 'acuracy'?")


USER_CODE = """x.TypeError: in user code:

    File "/work/train.py", line 12, in input_fn  *
        return tf.reshape(x, [1])
    File "/venv/lib/python3.11/site-packages/keras/engine.py", line 9, in call
        return inner(x)

    ValueError: Input 0 of layer "dense" is incompatible with the layer: expected min_ndim=2
"""


@pytest.mark.parametrize(
    ("text", "words", "advice"),
    [
        (
            "AttributeError: module 'tensorflow' has no attribute 'contrib'",
            "written for TensorFlow 1",
            "tf.contrib, which is gone",
        ),
        (
            "AttributeError: module 'tensorflow' has no attribute 'placeholder'",
            "written for TensorFlow 1",
            "tf.compat.v1.placeholder (or `import tensorflow.compat.v1 as tf`)",
        ),
        (
            "AttributeError: module 'tensorflow._api.v2.train' has no attribute 'AdamOptimizer'. Did you mean: 'x'?",
            "TensorFlow has no such name",
            "tf.compat.v1.train.AdamOptimizer",
        ),
        (
            "AttributeError: module 'tensorflow' has no attribute 'plceholder'",
            "TensorFlow has no such name",
            "correct /work/train.py:5 in main",
        ),
        (
            "ModuleNotFoundError: No module named 'tensorflow.examples'",
            "written for TensorFlow 1",
            "tensorflow.examples",
        ),
        (
            "x.FailedPreconditionError: GetNext() failed because the iterator has not been initialized.",
            "an iterator of the input is never initialised",
            "return the dataset itself",
        ),
        ("x.FailedPreconditionError: Table not initialized.", "lookup table is never", "tables_initializer"),
        (
            "launcher.estimator.compat.parts.StrategyRefusedError: RunConfig(train_distribute=X) in a cluster needs",
            "a strategy that this TensorFlow has no part for",
            "take train_distribute out of the RunConfig",
        ),
        (
            "ValueError: Please set your optimizer as an instance of `tf.keras.optimizers.legacy.Optimizer`, e.g., x",
            "an Estimator cannot take this optimizer",
            "one of tf.keras.optimizers.legacy",
        ),
        (
            "TypeError: Descriptors cannot be created directly.\nIf this call came from a _pb2.py file, your generated",
            "generated protobuf code is older",
            "--env PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION=python",
        ),
        (
            "AttributeError: module 'tf_keras.api._v2.keras' has no attribute 'ops'",
            "tf.keras is Keras 2 here",
            "--tune -legacy-keras",
        ),
        (
            "AttributeError: module 'keras._tf_keras.keras.layers' has no attribute 'DenseFeatures'",
            "tf.keras is Keras 3 here",
            "--tune legacy-keras",
        ),
        (
            "ImportError: `keras.optimizers.legacy` is not supported in Keras 3. When using `tf.keras`, to continue",
            "tf.keras is Keras 3 here",
            "--tune legacy-keras",
        ),
        (
            "ValueError: Cannot create a tensor proto whose content is larger than 2GB.",
            "larger than 2 GB",
            "keep large arrays out of the graph",
        ),
        (
            "x.UnimplementedError: File system scheme 's3' not implemented (file: 's3://bucket/x')",
            "cannot read this kind of address",
            "tensorflow_io",
        ),
        (
            "x.DataLossError: inflate() failed with error -3: incorrect header check",
            "read as compressed, and is not",
            "compression_type",
        ),
    ],
)
def test_what_people_really_do_wrong_is_final_the_first_time(text: str, words: str, advice: str) -> None:
    cause = of_raised(raised(text))
    assert cause.permanent and words in cause.message and advice in cause.advice, (cause.message, cause.advice)


def test_what_autograph_and_keras_wrap_is_told_with_the_users_line() -> None:
    library = "/tmp/__autograph_generated_fileabc123.py"
    cause = causes.of_exit("here", exited(raised(USER_CODE, path=library)))
    assert 'Input 0 of layer "dense" is incompatible' in cause.message
    assert "/work/train.py:12 in input_fn" in cause.message and "autograph" not in cause.message


def test_a_file_that_is_gzip_and_read_as_plain_is_named() -> None:
    tail = raised("x.DataLossError: corrupted record at 0") + f"{protocol.COMPRESSED_FILE}: /data/a.tfrecord\n"
    body = protocol.changed(exited(), raised=tail)
    cause = causes.of_exit("here", body)
    assert (cause.kind, cause.permanent) == ("bad_input", True)
    assert "/data/a.tfrecord is compressed (gzip)" in cause.message and "GZIP" in cause.advice


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (b"x = '\xe9'\n", "train.py:1)"),
        (b"# coding: klingon\n", "klingon"),
        (b"# coding: ascii\nx = '\xe9'\n", "ascii"),
    ],
)
def test_a_script_that_python_cannot_decode_is_a_syntax_error(tmp_path: Path, source: bytes, words: str) -> None:
    script = tmp_path / "train.py"
    script.write_bytes(source)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    body = protocol.Exited(task="chief:0", attempt=1, exit_code=1, signal=None, tail=f"2 files\n{done.stderr}")
    cause = causes.of_exit("here", body)
    assert (cause.kind, cause.permanent) == ("syntax", True) and words in cause.message, done.stderr


@pytest.mark.parametrize("room", ["agent", "estimator"])
def test_our_own_frames_are_nobodys_fault(room: str) -> None:
    folder = Path(launcher.__file__).parent / room
    assert all(Frame(path=str(path), line=1, function="f").is_library for path in folder.rglob("*.py"))
