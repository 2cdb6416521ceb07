"""Which environment variables decide whether two tasks can be forked from one preloaded interpreter.

Some are read once: by the interpreter and the C library when the process starts, by TensorFlow and its libraries while
they are imported. A process forked after that cannot be given other values. All others may differ from task to task.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence

from launcher.wire.variables import LEGACY_KERAS_VARIABLE

# Read at process start by the dynamic linker, the C library and Python
# (https://docs.python.org/3/using/cmdline.html#environment-variables); HOME decides where user packages are.
START_PREFIXES = ("LD_", "MALLOC_", "PYTHON", "LC_")
START_NAMES = frozenset({"GLIBC_TUNABLES", "LANG", "LANGUAGE", "HOME"})

_HARMLESS = ("LOGNAME", "PATH", "TZ", "USER")

# Read while TensorFlow, Keras, NumPy, protobuf and the libraries below them are imported.
IMPORT_PREFIXES = (
    "BLIS_",
    "DNNL_",
    "GOMP_",
    "GOTO_",
    "GRPC_",
    "HDF5_",
    "KERAS_",
    "KMP_",
    "MKL_",
    "NPY_",
    "NUMEXPR_",
    "OMP_",
    "ONEDNN_",
    "OPENBLAS_",
    "PROTOCOL_BUFFERS_",
    "TF2_",
    "TF_",
    "XLA_",
)

IMPORT_NAMES = frozenset({LEGACY_KERAS_VARIABLE})  # read by us, just before TensorFlow is imported

# These begin like the others and are read later: by RunConfig, when the first session or server is made, when a GPU
# is first used.
LATE_NAMES = frozenset(
    {
        "TF_CONFIG",
        "TF_FORCE_GPU_ALLOW_GROWTH",
        "TF_GPU_THREAD_COUNT",
        "TF_GPU_THREAD_MODE",
        "TF_GRPC_REUSE_PORT",
        "TF_NUM_INTEROP_THREADS",
        "TF_NUM_INTRAOP_THREADS",
    }
)


def import_environment(env: Mapping[str, str]) -> dict[str, str]:
    """The variables of ``env`` that are read while TensorFlow is imported, by name in order."""
    return {name: env[name] for name in sorted(env) if _is_read_at_import(name)}


def _is_read_at_import(name: str) -> bool:
    return name in IMPORT_NAMES or (name.startswith(IMPORT_PREFIXES) and name not in LATE_NAMES)


def start_environment(env: Mapping[str, str]) -> dict[str, str]:
    """The variables of ``env`` that are read when the interpreter starts, by name in order."""
    return {name: env[name] for name in sorted(env) if name.startswith(START_PREFIXES) or name in START_NAMES}


def known_environment(env: Mapping[str, str]) -> dict[str, str]:
    """What an interpreter is started with that is to know nothing of a run: the variables that are read at its start,
    and those without which hardly any program is started."""
    return {**{name: env[name] for name in _HARMLESS if name in env}, **start_environment(env)}


def preload_key(python: Sequence[str], env: Mapping[str, str]) -> str:
    """One name for all tasks that can be forked from the same preloaded interpreter.

    ``python``: the interpreter and its flags; ``env``: the complete environment of a task. The name does not show them.
    """
    facts = [list(python), start_environment(env), import_environment(env)]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def can_fork(python_flags: Sequence[str], env: Mapping[str, str], base_env: Mapping[str, str]) -> str | None:
    """None if a task with ``env`` can be forked from an interpreter started without flags in ``base_env``, but for
    variables that only imports read (another ``preload_key``, another preloaded interpreter); else why not."""
    if python_flags:
        return f"read only when the interpreter starts: {' '.join(python_flags)}"
    wanted, given = start_environment(env), start_environment(base_env)
    differing = sorted(name for name in {*wanted, *given} if wanted.get(name) != given.get(name))
    if differing:
        return f"read only when the interpreter starts: {', '.join(differing)}"
    return None
