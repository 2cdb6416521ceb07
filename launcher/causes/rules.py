"""What kinds of failure there are, how each is recognised, and what to do about it: a table, first match wins.

Texts of Python are those of its errno messages; texts of TensorFlow come from its kernels (named where it matters).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from launcher.causes.tf1_names import TF1_NAMES


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """One kind of failure.

    It fits if the exception is one of ``names`` (any, if there are none) and ``pattern`` is found in its ``text``, in
    the ``path`` of the file that raised it, or in the ``source`` line of the user's that did (``where``). ``through``:
    a frame of the traceback is in such a file. A rule without names also judges the last words of native code.
    ``title`` says what happened, ``advice`` what to do, with the values that ``exits._filled`` knows.
    """

    kind: str
    title: str
    advice: str
    names: frozenset[str] = frozenset()
    pattern: re.Pattern[str] | None = None
    where: str = "text"
    through: re.Pattern[str] | None = None
    permanent: bool = False
    knock_on: bool = False


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _any(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns))


_OUT_OF_MEMORY = (
    "use fewer tasks on this host, a smaller batch or model, or a smaller shuffle buffer; or give it more memory{limit}"
)

_DAMAGED_CHECKPOINT = (
    "go on from {good}: name it in the line model_checkpoint_path of the file `checkpoint` beside it; "
    "or remove the damaged one there and its files; or train in a new folder (--model-dir)"
)

RULES: tuple[Rule, ...] = (
    Rule(
        kind="nan_loss",
        names=_names("NanLossDuringTrainingError"),
        title="the loss is not a number",
        advice="lower the learning rate, and look for NaN, infinity and division by zero in the input and in the loss",
        permanent=True,
    ),
    Rule(
        kind="nan_loss",
        names=_names("InvalidArgumentError"),
        pattern=_any(r"Tensor had (?:NaN|Inf|-Inf)"),
        title="a tensor is not a number",
        advice="lower the learning rate, and look for NaN, infinity and division by zero in the input and in the loss",
        permanent=True,
    ),
    Rule(
        kind="metric",
        names=_names("KeyError"),
        pattern=_any(r"/early_stopping\.py$"),
        where="path",
        title="early stopping looks for a metric that the evaluation does not give",
        advice="name one of the evaluation's metrics in the early-stopping hook{metrics}",
        permanent=True,
    ),
    Rule(
        kind="metric",
        names=_names("KeyError ValueError"),
        pattern=_any(r"best_eval_result|current_eval_result|no loss is found in it"),
        title="an exporter compares a metric that the evaluation does not give",
        advice="name one of the evaluation's metrics in compare_fn{metrics}",
        permanent=True,
    ),
    Rule(
        kind="metric",
        names=_names("UnknownMetricError SeveralEvaluationsError"),
        title="a metric is watched that the evaluation does not give",
        advice="name one of the evaluation's metrics in the hook or exporter{metrics}",
        permanent=True,
    ),
    Rule(
        kind="checkpoint_mismatch",
        names=_names("CheckpointMismatchError"),
        title="the model is not the one whose checkpoints are in the model_dir",
        advice="train in a new folder (--model-dir), and take over what fits (launcher.estimator.warm_start, or "
        "--warm-start where the job has it); or give the model its former variables and shapes back",
        permanent=True,
    ),
    Rule(
        kind="checkpoint",
        names=_names("LostCheckpointError"),
        title="the model_dir has checkpoints, but its file 'checkpoint' names none",
        advice="write into that file the newest whole checkpoint, as the message says, or train in a new folder "
        "(--model-dir)",
        permanent=True,
    ),
    Rule(
        kind="import",
        names=_names("AttributeError"),
        pattern=_any(rf"module '(?:tensorflow|tf)[\w.]*' has no attribute '(?:{'|'.join(sorted(TF1_NAMES))})'"),
        title="the script is written for TensorFlow 1",
        advice="write {tf1}; see https://www.tensorflow.org/guide/migrate",
        permanent=True,
    ),
    Rule(
        kind="import",
        names=_names("AttributeError"),
        pattern=_any(r"module 'tensorflow[\w.]*' has no attribute "),
        title="TensorFlow has no such name",
        advice="correct {where}; if the script is written for TensorFlow 1: {tf1}",
        permanent=True,
    ),
    Rule(
        kind="import",
        names=_names("ModuleNotFoundError ImportError"),
        pattern=_any(r"No module named 'tensorflow\.(?:contrib|examples|models)\b", r"from 'tensorflow\.contrib"),
        title="the script is written for TensorFlow 1",
        advice="TensorFlow 2 has no tensorflow.contrib and no tensorflow.examples: use what tf.compat.v1 has, and read "
        "data with tf.data; see https://www.tensorflow.org/guide/migrate",
        permanent=True,
    ),
    Rule(
        kind="bad_input",
        names=_names("FailedPreconditionError"),
        pattern=_any(r"iterator has not been initialized", r"GetNext\(\) failed because the iterator"),
        title="an iterator of the input is never initialised",
        advice="return the dataset itself from input_fn: the Estimator makes its iterator and initialises it; or add "
        "iterator.initializer to the collection tf.compat.v1.GraphKeys.TABLE_INITIALIZERS",
        permanent=True,
    ),
    Rule(
        kind="exception",
        names=_names("FailedPreconditionError"),
        pattern=_any(r"[Tt]able not initialized", r"[Tt]able .*(?:not|un)[ -]?initialized"),
        title="a lookup table is never initialised",
        advice="make the table in model_fn or input_fn, in the graph that trains, and leave it in the collection "
        "TABLE_INITIALIZERS; a Scaffold of your own needs local_init_op=tf.compat.v1.tables_initializer()",
        permanent=True,
    ),
    Rule(
        kind="exception",
        pattern=_any(
            r"larger than 2 ?GB",
            r"exceeds? maximum protobuf size",
            r"Exceeded maximum protobuf size",
            r"GraphDef cannot be larger",
            r"Failed to serialize proto",
        ),
        title="the graph is larger than 2 GB",
        advice="keep large arrays out of the graph: give them to the dataset by a generator or from files, and load "
        "large tables from a checkpoint, not from a constant",
        permanent=True,
    ),
    Rule(
        kind="missing_input",
        pattern=_any(r"File system scheme '\w+' not implemented"),
        title="TensorFlow cannot read this kind of address",
        advice="import the plug-in for it first (tensorflow-io: `import tensorflow_io`), or name a folder that every "
        "host has mounted",
        permanent=True,
    ),
    Rule(
        kind="bad_input",
        pattern=_any(r"inflate\(\) failed", r"incorrect header check"),
        title="the input is read as compressed, and is not",
        advice="read it without compression_type",
        permanent=True,
    ),
    Rule(
        kind="bad_input",
        pattern=_any(r"(?:BadDataError|SourceError): "),
        title="the input cannot be read",
        advice="write that file again, or leave it out; on_bad_record='skip' (--on-bad-record) leaves out what is bad",
        permanent=True,
    ),
    Rule(
        kind="checkpoint",
        names=_names("OutOfRangeError DataLossError"),
        pattern=_any(
            r"Read less bytes", r"[Cc]hecksum", r"[Uu]nable to open table file", r"not an sstable", r"corrupt"
        ),
        through=_any(r"/(?:saver|session_manager|checkpoint_utils|checkpoint_management|py_checkpoint_reader)\.py$"),
        title="a checkpoint is damaged",
        advice=_DAMAGED_CHECKPOINT,
        permanent=True,
    ),
    Rule(
        kind="checkpoint",
        pattern=_any(r"[Uu]nable to open table file", r"not an sstable", r"Checksum does not match"),
        title="a checkpoint is damaged",
        advice=_DAMAGED_CHECKPOINT,
        permanent=True,
    ),
    Rule(
        kind="environment",
        names=_names("KeyError"),
        pattern=_any(r"^<frozen os>$", r"/os\.py$"),
        where="path",
        title="an environment variable is not set",
        advice="pass {key} on to the tasks (--env {key}), or set it for them (--env {key}=VALUE)",
        permanent=True,
    ),
    Rule(
        kind="bad_input",
        names=_names("KeyError"),
        pattern=_any(r"\b(?:features|labels)\["),
        where="source",
        title="the input gives no such feature",
        advice="let the input_fn give {key!r}, in training and in evaluation alike; or do not use it at {where}",
        permanent=True,
    ),
    Rule(
        kind="exception",
        names=_names("RuntimeError"),
        pattern=_any(r"Graph is finalized"),
        title="an operation is made after the session is",
        advice="make operations in model_fn, or in the hook's begin(), not at {where}: a graph that trains is not "
        "changed any more",
        permanent=True,
    ),
    Rule(
        kind="exception",
        names=_names("GlobalStepError"),
        title="training does not count its steps",
        advice="give minimize, or apply_gradients, the global step: global_step=tf.compat.v1.train.get_global_step()",
        permanent=True,
    ),
    Rule(
        kind="disk_full",
        pattern=_any(r"No space left on device", r"Disk quota exceeded", r"\[Errno (?:28|122)\]"),
        title="the disk is full",
        advice="free space there, or train in another folder (--model-dir){model_space}",
        permanent=True,
    ),
    Rule(
        kind="limit",
        pattern=_any(r"Too many open files", r"\[Errno 24\]", r"random_device.*device not available"),
        title="too many files are open",
        advice="close files after use, or raise the limit before the start (ulimit -n)",
    ),
    Rule(
        kind="out_of_memory",
        names=_names("MemoryError _ArrayMemoryError"),
        title="out of memory",
        advice=_OUT_OF_MEMORY,
    ),
    Rule(
        kind="out_of_memory",
        pattern=_any(
            r"OOM when allocating",
            r"Cannot allocate memory",
            r"failed to map segment from shared object",
            r"\[Errno 12\]",
            r"[Uu]nable to allocate",
            r"std::bad_alloc",
            r"Failed to allocate memory",
        ),
        title="out of memory",
        advice=_OUT_OF_MEMORY,
    ),
    Rule(
        kind="limit",
        pattern=_any(r"can't start new thread", r"Resource temporarily unavailable", r"pthread_create"),
        title="no more threads or processes could be started",
        advice="raise the limits before the start: of processes (ulimit -u, pids.max), of memory (ulimit -v){limit}",
    ),
    Rule(
        kind="permission",
        names=_names("PermissionError PermissionDeniedError"),
        title="a file may not be read or written",
        advice="give this user the rights to it, or name another folder (--model-dir for the model)",
        permanent=True,
    ),
    Rule(
        kind="permission",
        pattern=_any(r"Permission denied", r"Read-only file system", r"\[Errno 30\]"),
        title="a file may not be read or written",
        advice="give this user the rights to it, or name another folder (--model-dir for the model)",
        permanent=True,
    ),
    Rule(
        kind="checkpoint_mismatch",
        pattern=_any(
            r"Assign requires shapes of both tensors to match",
            r"Restoring from checkpoint failed[\s\S]*mismatch",
            r"Key \S+ not found in checkpoint",
            r"doesn't match with shape of tensor",
            r"does not match the shape stored in checkpoint",
            r"shape in shape_and_slice spec",
            r"tensor .* has an invalid shape",
        ),
        title="the model is not the one whose checkpoints are in the model_dir",
        advice="train in a new folder (--model-dir), or give the model its former variables and shapes back{model}",
        permanent=True,
    ),
    Rule(
        kind="checkpoint_missing",
        pattern=_any(
            r"Failed to find any matching files for",
            r"is not a valid checkpoint",
            r"\.data-\d+-of-\d+",
            r"\.ckpt-\d+\.(?:index|data)",
        ),
        title="a checkpoint is named, but gone",
        advice="name one that is whole in the file `checkpoint` of the model_dir, or train in a new folder "
        "(--model-dir); if it was deleted while it was read, keep more of them (RunConfig.keep_checkpoint_max) or save "
        "less often",
    ),
    Rule(
        kind="import",
        names=_names("ModuleNotFoundError ImportError"),
        title="a module cannot be imported",
        advice="correct the module's name, or install it for the interpreter of the tasks",
        permanent=True,
    ),
    Rule(  # as runpy says it of python -m
        kind="import",
        names=_names("SystemExit"),
        pattern=_any(r"No module named", r"Error while finding module specification"),
        title="a module cannot be imported",
        advice="correct the module's name, or install it for the interpreter of the tasks",
        permanent=True,
    ),
    Rule(
        kind="syntax",
        names=_names("SyntaxError IndentationError TabError"),
        title="Python does not understand the program",
        advice="correct {where}",
        permanent=True,
    ),
    Rule(
        kind="arguments",
        names=_names("UnrecognizedFlagError IllegalFlagValueError FlagsError ArgumentError UsageError"),
        title="the script refuses its arguments",
        advice="correct the command's arguments",
        permanent=True,
    ),
    Rule(
        kind="tf_config",
        names=_names("NoServerError ValueError"),
        pattern=_any(r"Estimator\.train alone does not train", r"Train has been called wrong configuration"),
        title="Estimator.train alone does not train in a cluster",
        advice="call tf.estimator.train_and_evaluate instead, in every role: it starts the servers, too",
        permanent=True,
    ),
    Rule(
        kind="tf_config",
        pattern=_any(
            r"TF_CONFIG",
            r"must be at most one `chief`|must have a `chief`|\"chief\" (?:must|node)|cluster must contain",
            r"[Tt]ask[_ ]type.*(?:not in|cluster)|is not a valid task",
        ),
        title="TF_CONFIG does not fit",
        advice="let the script take TF_CONFIG as it is given to each task, and change nothing in it",
        permanent=True,
    ),
    Rule(
        kind="port",
        pattern=_any(
            r"Address already in use", r"\[Errno 98\]", r"Could not start gRPC server", r"No address added out"
        ),
        title="a port is taken",
        advice="end who has it, or take another port",
    ),
    Rule(
        kind="bad_input",
        pattern=_any(
            r"Can't parse serialized Example",
            r"Could not parse example",
            r"is required but could not be found",
            r"Data types don't match",
            r"Expect \d+ fields but have",
            r"Field \d+ (?:in record )?is required",
            r"Key: .*\.\s+(?:Can't|Data types|Number of)",
        ),
        title="a record is not what the script expects",
        advice="compare the features that the script parses, their types and lengths, with those of the records",
        permanent=True,
    ),
    Rule(
        kind="bad_input",
        names=_names("InvalidArgumentError"),
        pattern=_any(r"indices\[[\d, ]+\] = -?\d+ is not in \[0, \d+\)"),
        title="an id is outside of its table",
        advice="give the table that is looked up at {where} as many rows as there are ids (vocabulary size, number of "
        "hash buckets), or correct the ids of the input",
        permanent=True,
    ),
    Rule(
        kind="bad_input",
        pattern=_any(r"(?:corrupted|truncated) record", r"Invalid JPEG|Unknown image file format"),
        title="a file of the input is damaged",
        advice="write {file} again, or leave it out; to see what is bad in which file: "
        "python -m launcher.estimator.streaming verify {paths}",
        permanent=True,
    ),
    Rule(
        kind="missing_input",
        names=_names("FileNotFoundError NotADirectoryError"),
        title="a file is missing",
        advice="correct the path, or put the file there, on every host",
        permanent=True,
    ),
    Rule(
        kind="missing_input",
        pattern=_any(r"No such file or directory", r"No files matched pattern", r"Not a directory"),
        title="a file is missing",
        advice="correct the path, or put the file there, on every host",
        permanent=True,
    ),
    Rule(
        kind="ps_unreachable",
        names=_names("UnavailableError AbortedError CancelledError LauncherGoneError"),
        title="a parameter server was lost",
        advice="see why it ended: tflaunch logs RUN ps:0",
        knock_on=True,
    ),
    Rule(
        kind="ps_unreachable",
        names=_names("FailedPreconditionError"),
        pattern=_any(r"[Uu]ninitialized", r"has not been initialized", r"does not exist"),
        title="a variable was not initialised",
        advice="see whether a parameter server was restarted: tflaunch logs RUN ps:0",
        knock_on=True,
    ),
)
