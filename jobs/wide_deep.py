"""Wide & deep (Cheng et al. 2016, https://arxiv.org/abs/1606.07792) on CSV: the job that jobs/README.md explains."""

import argparse
from typing import Any

import tensorflow as tf

import launcher.estimator as cluster
from launcher.estimator import metrics
from launcher.estimator.streaming import Files, ReadingOptions, Stream, infer_spec, list_shards, read, read_shards

BUCKETS, WIDTH, LAYERS, v1 = 50_000, 8, (64, 32, 1), tf.compat.v1


def model_fn(features: Any, labels: Any, mode: str, params: dict[str, Any]) -> Any:
    text = {name: tf.strings.join([name, tf.strings.as_string(features[name])], "=") for name in params["classes"]}
    pairs = (tf.strings.join([text[name] for name in pair], "*") for pair in params["crosses"])
    ids = tf.strings.to_hash_bucket_fast(tf.stack([*text.values(), *pairs], axis=1), BUCKETS)
    weights = v1.get_variable("wide", [BUCKETS], initializer=v1.zeros_initializer())
    table = v1.get_variable("embedding", [BUCKETS, WIDTH], initializer=v1.random_normal_initializer(stddev=0.1))
    embedded = tf.reshape(tf.nn.embedding_lookup(table, ids[:, : len(text)]), [-1, WIDTH * len(text)])
    deep = tf.concat([embedded, *(tf.asinh(features[name])[:, None] for name in params["numbers"])], axis=1)
    for i, width in enumerate(LAYERS):
        kernel = v1.get_variable(f"kernel_{i}", [deep.shape[1], width])
        deep = tf.matmul(tf.nn.relu(deep) if i else deep, kernel) + v1.get_variable(f"bias_{i}", [width])
    logits = tf.reduce_sum(tf.nn.embedding_lookup(weights, ids), axis=1) + deep[:, 0]
    if labels is None:
        predictions = {"probability": tf.sigmoid(logits)}
        outputs = {"serving_default": tf.estimator.export.PredictOutput(predictions)}
        return tf.estimator.EstimatorSpec(mode, predictions=predictions, export_outputs=outputs)
    label, others = tf.cast(labels["label"], tf.float32), v1.trainable_variables("(?!wide)")
    loss = tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(label, logits))
    wide_op = v1.train.FtrlOptimizer(0.1).minimize(loss, var_list=[weights])
    deep_op = v1.train.AdagradOptimizer(0.05).minimize(loss, v1.train.get_global_step(), others)
    train_op, ops = tf.group(wide_op, deep_op), metrics.binary_metrics(label, logits, prefix="label")
    return tf.estimator.EstimatorSpec(mode, loss=loss, train_op=train_op, eval_metric_ops=ops)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m jobs.wide_deep", description=__doc__)
    parser.add_argument("--data", required=True, help="holds train/*.csv and eval/*.csv with a column label: 0 or 1")
    parser.add_argument("--cross", nargs=2, action="append", default=[], help="two columns for the wide part")
    parser.add_argument("--model-dir", help="default: the one that TF_CONFIG names")
    parser.add_argument("--patience-steps", type=int, default=2000, help="end when AUC has not risen for so long")
    parser.add_argument("--save-secs", type=int, default=30, help="save, and evaluate, this often")
    args = parser.parse_args()
    train, held_out = [f"{args.data}/train"], [f"{args.data}/eval"]
    spec = infer_spec(list_shards(train)[0].path, "csv")
    types = {c.name: tf.as_dtype(c.kind.replace("bytes", "string")) for c in spec.columns if c.name != "label"}
    numbers = [name for name, dtype in types.items() if dtype is tf.float32]
    params = {"numbers": numbers, "classes": [name for name in types if name not in numbers], "crosses": args.cross}
    config = cluster.RunConfig(model_dir=args.model_dir, save_checkpoints_secs=args.save_secs)
    estimator = tf.estimator.Estimator(model_fn, config=config, params=params)
    options = ReadingOptions(spec=spec, format="csv", batch_examples=256)
    stream = Stream(Files(sources=tuple(train), epochs=None), lambda leases: read(leases, options), labels=["label"])
    stop = cluster.stop_if_no_increase_hook(estimator, "label_auc", args.patience_steps, run_every_steps=50)
    serving = cluster.serving_input_fn({name: tf.io.FixedLenFeature([], dtype) for name, dtype in types.items()})
    best = cluster.BestExporter("best", serving, "label_auc", higher_is_better=True)

    def eval_input_fn() -> Any:
        return read_shards(list_shards(held_out), options).map(lambda batch: (batch, {"label": batch["label"]}))

    eval_spec = cluster.EvalSpec(eval_input_fn, steps=None, exporters=[best], start_delay_secs=0, throttle_secs=0)
    cluster.train_and_evaluate(estimator, stream.train_spec(hooks=[stop]), eval_spec)


if __name__ == "__main__":
    main()
