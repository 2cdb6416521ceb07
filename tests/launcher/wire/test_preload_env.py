"""Which tasks can share a preloaded interpreter."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.wire.preload_env import can_fork, import_environment, preload_key, start_environment

PYTHON = ("/usr/bin/python3",)


@pytest.mark.parametrize(
    ("name", "shared"),
    [
        ("TF_CONFIG", True),
        ("TF_NUM_INTRAOP_THREADS", True),
        ("TF_NUM_INTEROP_THREADS", True),
        ("TF_GRPC_REUSE_PORT", True),
        ("CUDA_VISIBLE_DEVICES", True),
        ("TFLAUNCH_TASK", True),
        ("PATH", True),
        ("TZ", True),
        ("TF_CPP_MIN_LOG_LEVEL", False),
        ("TF_ENABLE_ONEDNN_OPTS", False),
        ("TF_USE_LEGACY_KERAS", False),
        ("OMP_NUM_THREADS", False),
        ("MKL_NUM_THREADS", False),
        ("OPENBLAS_NUM_THREADS", False),
        ("KMP_BLOCKTIME", False),
        ("XLA_FLAGS", False),
        ("KERAS_BACKEND", False),
        ("PYTHONPATH", False),
        ("PYTHONHASHSEED", False),
        ("LD_PRELOAD", False),
        ("MALLOC_ARENA_MAX", False),
        ("LC_ALL", False),
        ("HOME", False),
    ],
)
def test_variables_that_tasks_may_differ_in(name, shared):
    keys = {preload_key(PYTHON, env) for env in ({}, {name: "1"}, {name: "2"})}
    assert len(keys) == (1 if shared else 3)


def test_interpreter_is_part_of_the_key():
    assert len({preload_key(python, {}) for python in (PYTHON, ("/usr/bin/python3", "-u"), ("python3",))}) == 3


@given(st.dictionaries(st.sampled_from(["TF_A", "OMP_B", "PYTHONPATH", "C"]), st.text(max_size=3)))
def test_key_does_not_depend_on_the_order(env):
    assert preload_key(PYTHON, env) == preload_key(PYTHON, dict(reversed(env.items())))


@given(st.dictionaries(st.sampled_from(["TF_A", "TF_CONFIG", "LANG", "HOME", "X"]), st.text(max_size=3)))
def test_no_variable_is_read_twice(env):
    assert not import_environment(env).keys() & start_environment(env).keys()
    assert {**import_environment(env), **start_environment(env)}.items() <= env.items()


@pytest.mark.parametrize(
    ("flags", "env", "reason"),
    [
        ((), {}, None),
        ((), {"TF_CPP_MIN_LOG_LEVEL": "3", "TZ": "UTC"}, None),
        (("-u", "-O"), {}, "read only when the interpreter starts: -u -O"),
        (
            (),
            {"PYTHONHASHSEED": "0", "LD_PRELOAD": "x"},
            "read only when the interpreter starts: LD_PRELOAD, PYTHONHASHSEED",
        ),
    ],
)
def test_why_a_task_cannot_be_forked(flags, env, reason):
    base = {"HOME": "/home/user"}
    assert can_fork(flags, {**base, **env}, base) == reason


def test_variable_that_a_task_lacks_counts():
    assert can_fork((), {}, {"LANG": "C.UTF-8"}) == "read only when the interpreter starts: LANG"
