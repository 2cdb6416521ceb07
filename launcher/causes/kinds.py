"""What kinds of failure there are, how each is recognised, and what to do about it: a table, first match wins.

Texts of Python are those of its errno messages; texts of TensorFlow come from its kernels (named where it matters).
"""

from __future__ import annotations

from launcher.causes.rule import Rule, any_of, names_of
from launcher.causes.training_rules import TRAINING_RULES

_OUT_OF_MEMORY = (
    "use fewer tasks on this host, a smaller batch or model, or a smaller shuffle buffer; or give it more memory{limit}"
)

_OTHER_RULES: tuple[Rule, ...] = (
    Rule(
        kind="disk_full",
        pattern=any_of(r"No space left on device", r"Disk quota exceeded", r"\[Errno (?:28|122)\]"),
        title="the disk is full",
        advice="free space there, or train in another folder (--model-dir){model_space}",
        permanent=True,
    ),
    Rule(
        kind="limit",
        pattern=any_of(r"Too many open files", r"\[Errno 24\]", r"random_device.*device not available"),
        title="too many files are open",
        advice="close files after use, or raise the limit before the start (ulimit -n)",
    ),
    Rule(
        kind="out_of_memory",
        names=names_of("MemoryError _ArrayMemoryError"),
        title="out of memory",
        advice=_OUT_OF_MEMORY,
    ),
    Rule(
        kind="out_of_memory",
        pattern=any_of(
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
        pattern=any_of(
            r"can't start new thread",
            r"Resource temporarily unavailable",
            r"pthread_create|Thread creation.* failed|^Cannot fork$",
        ),
        title="no more threads or processes could be started",
        advice="raise the limits before the start: of processes (ulimit -u, pids.max), of memory (ulimit -v){limit}",
    ),
    Rule(
        kind="permission",
        names=names_of("PermissionError PermissionDeniedError"),
        title="a file may not be read or written",
        advice="give this user the rights to it, or name another folder (--model-dir for the model)",
        permanent=True,
    ),
    Rule(
        kind="permission",
        pattern=any_of(r"Permission denied", r"Read-only file system", r"\[Errno 30\]"),
        title="a file may not be read or written",
        advice="give this user the rights to it, or name another folder (--model-dir for the model)",
        permanent=True,
    ),
    Rule(
        kind="checkpoint_mismatch",
        pattern=any_of(
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
        pattern=any_of(
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
        names=names_of("ModuleNotFoundError ImportError"),
        title="a module cannot be imported",
        advice="correct the module's name, or install it for the interpreter of the tasks",
        permanent=True,
    ),
    Rule(  # as runpy says it of python -m
        kind="import",
        names=names_of("SystemExit"),
        pattern=any_of(r"No module named", r"Error while finding module specification"),
        title="a module cannot be imported",
        advice="correct the module's name, or install it for the interpreter of the tasks",
        permanent=True,
    ),
    Rule(
        kind="syntax",
        names=names_of("SyntaxError IndentationError TabError"),
        title="Python does not understand the program",
        advice="correct {where}",
        permanent=True,
    ),
    Rule(
        kind="arguments",
        names=names_of("UnrecognizedFlagError IllegalFlagValueError FlagsError ArgumentError UsageError"),
        title="the script refuses its arguments",
        advice="correct the command's arguments",
        permanent=True,
    ),
    Rule(
        kind="tf_config",
        names=names_of("NoParameterServersError"),
        title="the program trains with parameter servers, and the cluster has none",
        advice="start it with parameter servers: --ps 1, or roles.ps.count in the spec",
        permanent=True,
    ),
    Rule(
        kind="tf_config",
        names=names_of("NoServerError ValueError"),
        pattern=any_of(r"Estimator\.train alone does not train", r"Train has been called wrong configuration"),
        title="Estimator.train alone does not train in a cluster",
        advice="call tf.estimator.train_and_evaluate instead, in every role: it starts the servers, too",
        permanent=True,
    ),
    Rule(
        kind="tf_config",
        pattern=any_of(r"it must have one \"chief\" node"),
        title="an Estimator needs a chief",
        advice="let the cluster have one: leave out --no-chief, or chief with a count of 0 in the spec",
        permanent=True,
    ),
    Rule(
        kind="tf_config",
        pattern=any_of(
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
        pattern=any_of(
            r"Address already in use", r"\[Errno 98\]", r"Could not start gRPC server", r"No address added out"
        ),
        title="a port is taken",
        advice="end who has it, or take another port",
    ),
    Rule(
        kind="bad_input",
        pattern=any_of(
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
        names=names_of("InvalidArgumentError"),
        pattern=any_of(r"indices\[[\d, ]+\] = -?\d+ is not in \[0, \d+\)"),
        title="an id is outside of its table",
        advice="give the table that is looked up at {where} as many rows as there are ids (vocabulary size, number of "
        "hash buckets), or correct the ids of the input",
        permanent=True,
    ),
    Rule(
        kind="bad_input",
        pattern=any_of(r"(?:corrupted|truncated) record", r"Invalid JPEG|Unknown image file format"),
        title="a file of the input is damaged",
        advice="write {file} again, or leave it out; to see what is bad in which file: "
        "python -m launcher.estimator.streaming verify {paths}",
        permanent=True,
    ),
    Rule(
        kind="missing_input",
        names=names_of("FileNotFoundError NotADirectoryError"),
        title="a file is missing",
        advice="correct the path, or put the file there, on every host",
        permanent=True,
    ),
    Rule(
        kind="missing_input",
        pattern=any_of(r"No such file or directory", r"No files matched pattern", r"Not a directory"),
        title="a file is missing",
        advice="correct the path, or put the file there, on every host",
        permanent=True,
    ),
    Rule(
        kind="member_lost",
        names=names_of("UnavailableError AbortedError CancelledError InternalError InvalidArgumentError"),
        pattern=any_of(r"[Cc]ollective ops is aborted", r"check_collective_ops_peer_health", r"Collective.* peer"),
        title="another member of the collective was lost",
        advice="see which of the others ended first, and why: tflaunch logs RUN",
        knock_on=True,
    ),
    Rule(
        kind="ps_unreachable",
        names=names_of("UnavailableError AbortedError CancelledError LauncherGoneError"),
        title="a parameter server was lost",
        advice="see why it ended: tflaunch logs RUN ps:0",
        knock_on=True,
    ),
    Rule(
        kind="ps_unreachable",
        names=names_of("FailedPreconditionError"),
        pattern=any_of(r"[Uu]ninitialized", r"has not been initialized", r"does not exist"),
        title="a variable was not initialised",
        advice="see whether a parameter server was restarted: tflaunch logs RUN ps:0",
        knock_on=True,
    ),
)

RULES = (*TRAINING_RULES, *_OTHER_RULES)
