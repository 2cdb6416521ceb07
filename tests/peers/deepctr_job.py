"""DeepCTR's DeepFM as an Estimator, on rows made here. Arguments: MAX_STEPS MODEL_DIR."""

import sys

import numpy as np
import tensorflow as tf
from deepctr.estimator import DeepFMEstimator

IDS, SPARSE, DENSE = 200, [f"s{i}" for i in range(4)], [f"d{i}" for i in range(3)]


def input_fn(seed, repeat):
    rng = np.random.RandomState(seed)
    features = {name: rng.randint(0, IDS, 4096) for name in SPARSE}
    features.update({name: rng.rand(4096).astype("float32") for name in DENSE})
    label = ((features["s0"] % 2) ^ (features["d0"] > 0.8)).astype("float32")[:, None]
    data = tf.data.Dataset.from_tensor_slices((features, label)).shuffle(4096, seed=seed)
    return (data.repeat() if repeat else data).batch(128)


def main():
    column = tf.feature_column
    ids = [column.categorical_column_with_identity(name, IDS) for name in SPARSE]
    numbers = [column.numeric_column(name) for name in DENSE]
    deep = [*(column.embedding_column(item, 4) for item in ids), *numbers]
    model = DeepFMEstimator([*ids, *numbers], deep, dnn_hidden_units=(32, 16), task="binary", model_dir=sys.argv[2])
    train = tf.estimator.TrainSpec(lambda: input_fn(1, True), max_steps=int(sys.argv[1]))
    tf.estimator.train_and_evaluate(model, train, tf.estimator.EvalSpec(lambda: input_fn(2, False), steps=None))


if __name__ == "__main__":
    main()
