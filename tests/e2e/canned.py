"""An Estimator script as people have it: it knows nothing of any launcher.

A canned DNNClassifier, ``train_and_evaluate`` and a ``session_config`` of its own. Learns whether the sum of ten
numbers is positive.
"""

import argparse
import json
import sys

import numpy as np
import tensorflow as tf

BATCH_EXAMPLES = 32


def input_fn(seed, repeat):
    rng = np.random.RandomState(seed)
    x = rng.randn(4096, 10).astype(np.float32)
    y = (x.sum(axis=1) > 0).astype(np.int32)
    data = tf.data.Dataset.from_tensor_slices(({"x": x}, y)).shuffle(4096, seed=seed)
    return (data.repeat() if repeat else data).batch(BATCH_EXAMPLES)


def mend_poll():
    """What people do about the 30 s that a worker sleeps when it comes before the chief."""
    from tensorflow.python.training import session_manager

    original = session_manager.SessionManager.__init__

    def init(self, *args, **kwargs):
        kwargs["recovery_wait_secs"] = 1
        original(self, *args, **kwargs)

    session_manager.SessionManager.__init__ = init


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model_dir", default=None)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--save_steps", type=int, default=None)
    parser.add_argument("--flag", default="")
    parser.add_argument("--mend-poll", action="store_true")
    args = parser.parse_args()
    print("argv", json.dumps(sys.argv[1:]), flush=True)
    if args.mend_poll:
        mend_poll()
    tf.compat.v1.logging.set_verbosity(tf.compat.v1.logging.INFO)
    config = tf.estimator.RunConfig(
        model_dir=args.model_dir,
        session_config=tf.compat.v1.ConfigProto(allow_soft_placement=True),
        log_step_count_steps=100,
        **({"save_checkpoints_steps": args.save_steps} if args.save_steps else {}),
    )
    classifier = tf.estimator.DNNClassifier(
        feature_columns=[tf.feature_column.numeric_column("x", shape=(10,))],
        hidden_units=[32, 16],
        n_classes=2,
        config=config,
    )
    index = config.task_id if config.task_type == "worker" else 99
    tf.estimator.train_and_evaluate(
        classifier,
        tf.estimator.TrainSpec(lambda: input_fn(index, True), max_steps=args.steps),
        tf.estimator.EvalSpec(lambda: input_fn(1000, False), steps=20, start_delay_secs=1, throttle_secs=1),
    )
    print("done", config.task_type, config.task_id, flush=True)


if __name__ == "__main__":
    main()
