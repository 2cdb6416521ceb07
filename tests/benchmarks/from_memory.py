"""The limit: how fast one process trains the shared job's model from memory, without parameter servers or input.

    python -m tests.benchmarks.from_memory DATA TOWERS DIM OPTIMIZER RATE BATCH SECONDS

Prints one JSON object with examples a second. All cores, one session; batches are rows of the same data.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np

from jobs._tf import tf
from jobs.esmm.config import ModelConfig
from jobs.esmm.input.schema import Feature, Schema
from jobs.esmm.model.losses import esmm_losses
from jobs.esmm.model.model import esmm_logits
from jobs.esmm.model.optimizers import make_optimizer
from tests.benchmarks.training_data import FEATURES, IDS, Hidden

_BATCHES = 60
_WARM_UP_STEPS = 10


def main() -> None:
    towers, dim, optimizer, rate, batch, seconds = sys.argv[1:]
    widths = tuple(int(width) for width in towers.split(","))
    schema = Schema(features=tuple(Feature(name=name, ids=IDS) for name in FEATURES))
    config = ModelConfig(schema=schema, embedding_dim=int(dim), towers=widths, optimizer=optimizer)
    columns = Hidden(0).draw(np.random.default_rng(1), _BATCHES * int(batch))
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        dataset = tf.data.Dataset.from_tensor_slices(
            {name: column.reshape(_BATCHES, -1) for name, column in columns.items()}
        )
        iterator = tf.compat.v1.data.make_initializable_iterator(dataset.repeat().prefetch(2))
        row = iterator.get_next()
        logits = esmm_logits(row, config, ps_tasks=0)
        labels = (tf.cast(row[name], tf.float32) for name in ("click", "conversion"))
        losses = esmm_losses(*labels, logits.ctr, logits.cvr)
        step = make_optimizer(optimizer, float(rate)).minimize(
            losses.ctr + losses.ctcvr, global_step=tf.compat.v1.train.get_or_create_global_step()
        )
        session.run([tf.compat.v1.global_variables_initializer(), iterator.initializer])
        run = session.make_callable(step)
        for _ in range(_WARM_UP_STEPS):
            run()
        began, steps = time.perf_counter(), 0
        while time.perf_counter() - began < float(seconds):
            run()
            steps += 1
        spent = time.perf_counter() - began
    print(json.dumps({"examples_per_s": steps * int(batch) / spent}))


if __name__ == "__main__":
    main()
