"""tf.estimator on a TensorFlow without it, seen from programs that know nothing of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from launcher.estimator.compat import parts
from tests.e2e.running import environment

ROOT = Path(__file__).parents[3]
START = "from launcher.estimator.compat import install_on_import; install_on_import(); "

WAYS_IN = """
import sys
assert "tensorflow" not in sys.modules
import tensorflow as tf
assert "tensorflow_estimator" not in sys.modules
import tensorflow.compat.v1 as tf1
import tensorflow.estimator as by_name
import tensorflow.compat.v1.estimator as v1_by_name
from tensorflow.compat.v1 import estimator as v1_from
from tensorflow_estimator.python.estimator import run_config
assert by_name.DNNClassifier is tf.estimator.DNNClassifier
assert tf.estimator.RunConfig is run_config.RunConfig
assert tf.compat.v1.estimator.DNNClassifier is tf1.estimator.DNNClassifier is v1_from.DNNClassifier
assert v1_by_name.DNNClassifier is not tf.estimator.DNNClassifier
from tensorflow.python.estimator import estimator_lib, keras as keras_lib, run_config as old_run_config
from tensorflow.python.estimator.canned.head import _Head
import tensorflow.python.estimator.inputs.queues.feeding_functions
from tensorflow.python.estimator.exporter import Exporter
from tensorflow.python.estimator.canned.dnn import DNNClassifierV2
assert Exporter is tf.estimator.Exporter and DNNClassifierV2 is tf.estimator.DNNClassifier
assert old_run_config.RunConfig is tf.estimator.RunConfig and keras_lib.model_to_estimator
try:
    import tensorflow.python.estimator.no_such_module
except ModuleNotFoundError as error:
    assert error.name == "tensorflow.python.estimator.no_such_module", error
else:
    raise AssertionError
import tensorflow_estimator as tfe
assert tfe.estimator.DNNClassifier and tfe.python.estimator.run_config is run_config
from tensorflow.python.util import tf_export
assert tf_export.get_v2_names(tf.estimator.DNNClassifier) == ["estimator.DNNClassifier"]
assert tf.estimator.experimental.stop_if_lower_hook and tf1.estimator.inputs.numpy_input_fn
assert tf.compat.v1.app.run and tf.compat.v1.flags.DEFINE_string
from launcher.estimator.compat import install
estimator = tf.estimator
install()
assert tf.estimator is estimator
import launcher.estimator
assert launcher.estimator.train_and_evaluate is tf.estimator.train_and_evaluate
"""

TRAINING = """
import tensorflow as tf
import keras

def batches():
    features = {"x": [[0.5]] * 4, "word": ["a", "b", "a", "c"]}
    return tf.data.Dataset.from_tensors((features, [[0], [1], [0], [1]])).repeat(3)

hashed = tf.feature_column.categorical_column_with_hash_bucket("word", 8)
columns = [tf.feature_column.numeric_column("x"), tf.feature_column.embedding_column(hashed, 2)]
for module in (tf.estimator, tf.compat.v1.estimator):
    canned = module.DNNClassifier(feature_columns=columns, hidden_units=[4], dropout=0.1, batch_norm=True)
    canned.train(batches)
    assert canned.evaluate(batches)["global_step"] == 3

def model_fn(features, labels, mode):
    dense = tf.compat.v1.feature_column.input_layer(features, columns)
    logits = tf.compat.v1.layers.dense(dense, 1)
    loss = tf.compat.v1.losses.sigmoid_cross_entropy(labels, logits)
    train = tf.compat.v1.train.AdagradOptimizer(0.1).minimize(loss, tf.compat.v1.train.get_global_step())
    return tf.estimator.EstimatorSpec(mode, loss=loss, train_op=train)

tf.estimator.Estimator(model_fn).train(batches)

def with_layers(features, labels, mode):
    net = tf.keras.Sequential([tf.keras.layers.Dense(4), tf.keras.layers.Dense(1)])
    loss = tf.reduce_mean((net(features["x"]) - tf.cast(labels, tf.float32)) ** 2)
    train = tf.compat.v1.train.AdagradOptimizer(0.1).minimize(loss, tf.compat.v1.train.get_global_step())
    return tf.estimator.EstimatorSpec(mode, loss=loss, train_op=train)

estimator = tf.estimator.Estimator(with_layers)
estimator.train(batches)
for _ in range(2):
    assert estimator.evaluate(batches)["global_step"] == 3

assert tf.keras.layers.Dense is keras.layers.Dense, "the script's own Keras is another one"
assert tf.keras.Sequential([keras.layers.Dense(1)])(tf.zeros([2, 3])).shape == (2, 1)
print("keras", keras.__version__)
"""

OF_KERAS_2 = """
import tensorflow as tf
assert hasattr(tf.keras, "estimator")  # Keras 3 has none

def batches():
    return tf.data.Dataset.from_tensors(({"x": [[0.5]] * 4}, [[0.0], [1.0], [0.0], [1.0]])).repeat(3)

model = tf.keras.Sequential([tf.keras.Input((1,), name="x"), tf.keras.layers.Dense(1, activation="sigmoid")])
model.compile(optimizer="adam", loss="binary_crossentropy", metrics=["accuracy"])
estimator = tf.keras.estimator.model_to_estimator(keras_model=model)
estimator.train(batches)
assert estimator.evaluate(batches)["global_step"] == 3

columns = [tf.feature_column.numeric_column("x")]
estimator = tf.estimator.DNNClassifier([4], columns, optimizer=tf.keras.optimizers.legacy.Adam(0.1))
estimator.train(batches)

def mean(labels, predictions):
    metric = tf.keras.metrics.Mean()
    metric.update_state(predictions["logistic"])
    return {"mean": metric}

assert "mean" in tf.estimator.add_metrics(estimator, mean).evaluate(batches)
"""

ADJUSTED = """
import sys
from launcher.wire.adjustments import DEFAULT
from launcher.estimator.adjustments import adjust
adjust.apply_on_import(DEFAULT)
if sys.argv[1] == "install after":
    from launcher.estimator.compat import install_on_import
    install_on_import()
import tensorflow as tf
tf.estimator.Estimator
from tensorflow.python.training import basic_session_run_hooks, monitored_session, session_manager
from tensorflow_estimator.python.estimator import estimator, run_config, training

def is_wrapped(owner, name):
    return hasattr(getattr(owner, name), "__wrapped__")

assert is_wrapped(session_manager.SessionManager, "prepare_session")
assert is_wrapped(session_manager.SessionManager, "wait_for_session")
assert is_wrapped(monitored_session._MonitoredSession, "__init__")
assert is_wrapped(basic_session_run_hooks.CheckpointSaverHook, "_save")
assert is_wrapped(estimator.Estimator, "_train_with_estimator_spec")
assert is_wrapped(training._TrainingExecutor, "_start_continuous_evaluation")
assert is_wrapped(run_config.RunConfig, "_maybe_overwrite_session_config_for_distributed_training")
assert training._DELAY_SECS_PER_WORKER == 0
adjust.undo()
assert not is_wrapped(session_manager.SessionManager, "prepare_session")
assert training._DELAY_SECS_PER_WORKER > 0
"""

WITHOUT_ESTIMATOR = """
import importlib.util, sys
import launcher.estimator.compat as compat

find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name == sys.argv[1] else find_spec(name, package)
try:
    compat.install()
except compat.EstimatorMissingError as error:
    print(error)
"""


def run(program: str, *arguments: str, **variables: str) -> str:
    environ = environment(**{"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3", **variables})
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], env=environ, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.tensorflow
@pytest.mark.legacy
def test_every_way_in_and_the_canned_and_the_custom_estimators_while_keras_stays_what_it_is() -> None:
    output = run(START + WAYS_IN + TRAINING, TFLAUNCH_LEGACY_KERAS="off")
    assert "keras" in output


@pytest.mark.tensorflow
@pytest.mark.legacy
def test_a_program_that_imports_the_library_has_what_estimators_take_of_keras_2() -> None:
    run("import launcher.estimator\n" + WAYS_IN + OF_KERAS_2)


@pytest.mark.tensorflow
@pytest.mark.legacy
@pytest.mark.parametrize("order", ["install before", "install after"])
def test_adjustments_are_made_as_the_script_imports(order: str) -> None:
    run((START if order == "install before" else "") + ADJUSTED, order)


@pytest.mark.tensorflow  # not legacy: TensorFlow 2.15 has its own tf.estimator
@pytest.mark.parametrize("package", ["tensorflow_estimator", "tf_keras"])
def test_a_missing_package_is_named_with_what_to_install(package: str) -> None:
    output = run(WITHOUT_ESTIMATOR, package)
    assert package.replace("_", "-") in output
    assert "python -m pip install tensorflow-estimator==2.15.0 tf-keras" in output


def test_what_is_no_mode_runs_no_coordinator() -> None:
    """As on 2.15: a test double of a RunConfig has anything there."""
    config = SimpleNamespace(_distribute_coordinator_mode=object(), cluster_spec={"worker": ["a:1"]})
    assert not parts._should_run_distribute_coordinator(config)
