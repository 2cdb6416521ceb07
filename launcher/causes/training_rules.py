"""What training with TensorFlow is known to fail with: Keras, losses, metrics, checkpoints, input, old code."""

from __future__ import annotations

from launcher.causes.rule import Rule, any_of, names_of
from launcher.causes.tf1_names import TF1_NAMES

_DAMAGED_CHECKPOINT = (
    "go on from {good}: name it in the line model_checkpoint_path of the file `checkpoint` beside it; "
    "or remove the damaged one there and its files; or train in a new folder (--model-dir)"
)

TRAINING_RULES: tuple[Rule, ...] = (
    Rule(
        kind="exception",
        names=names_of("StrategyRefusedError"),
        title="a strategy that this TensorFlow has no part for",
        advice="take train_distribute out of the RunConfig: train_and_evaluate trains with parameter servers without"
        " any strategy",
        permanent=True,
    ),
    Rule(
        kind="exception",
        names=names_of("ValueError"),
        pattern=any_of(r"set your optimizer as an instance of `tf\.keras\.optimizers\.legacy"),
        title="an Estimator cannot take this optimizer",
        advice="give the Estimator one of tf.keras.optimizers.legacy, or its name as text ('Adam')",
        permanent=True,
    ),
    Rule(
        kind="import",
        names=names_of("TypeError"),
        pattern=any_of(r"Descriptors cannot (?:not )?be created directly"),
        title="generated protobuf code is older than the protobuf here",
        advice="--env PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION=python reads it all the same; or generate it anew",
        permanent=True,
    ),
    Rule(
        kind="import",
        names=names_of("AttributeError ImportError ModuleNotFoundError"),
        pattern=any_of(
            r"module '(?:tf_keras\.|tensorflow\.keras|keras\.api\._v[12]\.keras)[\w.]*' has no attribute '\w+'",
            r"No module named 'tensorflow\.keras\.(?:ops|random)'",
        ),
        title="tf.keras is Keras 2 here, which has no such name",
        advice="correct {where}; if the program is written for Keras 3, keep it: --tune -legacy-keras",
        permanent=True,
    ),
    Rule(
        kind="import",
        names=names_of("AttributeError ImportError ModuleNotFoundError"),
        pattern=any_of(
            r"module 'keras\._tf_keras\.keras[\w.]*' has no attribute '\w+'",
            r"not (?:supported|available) (?:in|with) Keras 3",
        ),
        title="tf.keras is Keras 3 here, which has no such name",
        advice="correct {where}; if the program is written for Keras 2, give it that: --tune legacy-keras",
        permanent=True,
    ),
    Rule(
        kind="exception",
        pattern=any_of(
            r"you need to pass this dataset to ClusterCoordinator\.create_per_worker_dataset",
            r"unsupported type \(<class 'tensorflow\.python\.distribute\.values\.PerReplica'>\)",
        ),
        through=any_of(r"/keras/src/"),
        title="Keras 3 cannot train in a cluster",
        advice="give the program Keras 2: --tune legacy-keras",
        permanent=True,
    ),
    Rule(
        kind="nan_loss",
        names=names_of("NanLossDuringTrainingError"),
        title="the loss is not a number",
        advice="lower the learning rate, and look for NaN, infinity and division by zero in the input and in the loss",
        permanent=True,
    ),
    Rule(
        kind="nan_loss",
        names=names_of("InvalidArgumentError"),
        pattern=any_of(r"Tensor had (?:NaN|Inf|-Inf)"),
        title="a tensor is not a number",
        advice="lower the learning rate, and look for NaN, infinity and division by zero in the input and in the loss",
        permanent=True,
    ),
    Rule(
        kind="metric",
        names=names_of("KeyError"),
        pattern=any_of(r"/early_stopping\.py$"),
        where="path",
        title="early stopping looks for a metric that the evaluation does not give",
        advice="name one of the evaluation's metrics in the early-stopping hook{metrics}",
        permanent=True,
    ),
    Rule(
        kind="metric",
        names=names_of("KeyError ValueError"),
        pattern=any_of(r"best_eval_result|current_eval_result|no loss is found in it"),
        title="an exporter compares a metric that the evaluation does not give",
        advice="name one of the evaluation's metrics in compare_fn{metrics}",
        permanent=True,
    ),
    Rule(
        kind="metric",
        names=names_of("UnknownMetricError SeveralEvaluationsError"),
        title="a metric is watched that the evaluation does not give",
        advice="name one of the evaluation's metrics in the hook or exporter{metrics}",
        permanent=True,
    ),
    Rule(
        kind="checkpoint_mismatch",
        names=names_of("CheckpointMismatchError"),
        title="the model is not the one whose checkpoints are in the model_dir",
        advice="train in a new folder (--model-dir), and take over what fits (launcher.estimator.warm_start, or "
        "--warm-start where the job has it); or give the model its former variables and shapes back",
        permanent=True,
    ),
    Rule(
        kind="checkpoint",
        names=names_of("LostCheckpointError"),
        title="the model_dir has checkpoints, but its file 'checkpoint' names none",
        advice="write into that file the newest whole checkpoint, as the message says, or train in a new folder "
        "(--model-dir)",
        permanent=True,
    ),
    Rule(
        kind="import",
        names=names_of("AttributeError"),
        pattern=any_of(rf"module '(?:tensorflow|tf)[\w.]*' has no attribute '(?:{'|'.join(sorted(TF1_NAMES))})'"),
        title="the script is written for TensorFlow 1",
        advice="write {tf1}; see https://www.tensorflow.org/guide/migrate",
        permanent=True,
    ),
    Rule(
        kind="import",
        names=names_of("AttributeError"),
        pattern=any_of(r"module 'tensorflow[\w.]*' has no attribute "),
        title="TensorFlow has no such name",
        advice="correct {where}; if the script is written for TensorFlow 1: {tf1}",
        permanent=True,
    ),
    Rule(
        kind="import",
        names=names_of("ModuleNotFoundError ImportError"),
        pattern=any_of(r"No module named 'tensorflow\.(?:contrib|examples|models)\b", r"from 'tensorflow\.contrib"),
        title="the script is written for TensorFlow 1",
        advice="TensorFlow 2 has no tensorflow.contrib and no tensorflow.examples: use what tf.compat.v1 has, and read "
        "data with tf.data; see https://www.tensorflow.org/guide/migrate",
        permanent=True,
    ),
    Rule(
        kind="bad_input",
        names=names_of("FailedPreconditionError"),
        pattern=any_of(r"iterator has not been initialized", r"GetNext\(\) failed because the iterator"),
        title="an iterator of the input is never initialised",
        advice="return the dataset itself from input_fn: the Estimator makes its iterator and initialises it; or add "
        "iterator.initializer to the collection tf.compat.v1.GraphKeys.TABLE_INITIALIZERS",
        permanent=True,
    ),
    Rule(
        kind="exception",
        names=names_of("FailedPreconditionError"),
        pattern=any_of(r"[Tt]able not initialized", r"[Tt]able .*(?:not|un)[ -]?initialized"),
        title="a lookup table is never initialised",
        advice="make the table in model_fn or input_fn, in the graph that trains, and leave it in the collection "
        "TABLE_INITIALIZERS; a Scaffold of your own needs local_init_op=tf.compat.v1.tables_initializer()",
        permanent=True,
    ),
    Rule(
        kind="exception",
        pattern=any_of(
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
        pattern=any_of(r"File system scheme '\w+' not implemented"),
        title="TensorFlow cannot read this kind of address",
        advice="import the plug-in for it first (tensorflow-io: `import tensorflow_io`), or name a folder that every "
        "host has mounted",
        permanent=True,
    ),
    Rule(
        kind="bad_input",
        pattern=any_of(r"inflate\(\) failed", r"incorrect header check"),
        title="the input is read as compressed, and is not",
        advice="read it without compression_type",
        permanent=True,
    ),
    Rule(
        kind="bad_input",
        pattern=any_of(r"(?:BadDataError|SourceError): "),
        title="the input cannot be read",
        advice="write that file again, or leave it out; on_bad_record='skip' (--on-bad-record) leaves out what is bad",
        permanent=True,
    ),
    Rule(
        kind="checkpoint",
        names=names_of("OutOfRangeError DataLossError"),
        pattern=any_of(
            r"Read less bytes", r"[Cc]hecksum", r"[Uu]nable to open table file", r"not an sstable", r"corrupt"
        ),
        through=any_of(r"/(?:saver|session_manager|checkpoint_utils|checkpoint_management|py_checkpoint_reader)\.py$"),
        title="a checkpoint is damaged",
        advice=_DAMAGED_CHECKPOINT,
        permanent=True,
    ),
    Rule(
        kind="checkpoint",
        pattern=any_of(r"[Uu]nable to open table file", r"not an sstable", r"Checksum does not match"),
        title="a checkpoint is damaged",
        advice=_DAMAGED_CHECKPOINT,
        permanent=True,
    ),
    Rule(
        kind="environment",
        names=names_of("KeyError"),
        pattern=any_of(r"^<frozen os>$", r"/os\.py$"),
        where="path",
        title="an environment variable is not set",
        advice="pass {key} on to the tasks (--env {key}), or set it for them (--env {key}=VALUE)",
        permanent=True,
    ),
    Rule(
        kind="bad_input",
        names=names_of("KeyError"),
        pattern=any_of(r"\b(?:features|labels)\["),
        where="source",
        title="the input gives no such feature",
        advice="let the input_fn give {key!r}, in training and in evaluation alike; or do not use it at {where}",
        permanent=True,
    ),
    Rule(
        kind="exception",
        names=names_of("RuntimeError"),
        pattern=any_of(r"Graph is finalized"),
        title="an operation is made after the session is",
        advice="make operations in model_fn, or in the hook's begin(), not at {where}: a graph that trains is not "
        "changed any more",
        permanent=True,
    ),
    Rule(
        kind="exception",
        names=names_of("GlobalStepError"),
        title="training does not count its steps",
        advice="give minimize, or apply_gradients, the global step: global_step=tf.compat.v1.train.get_global_step()",
        permanent=True,
    ),
)
