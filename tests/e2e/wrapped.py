"""Starts processes of each kind that use Estimators beside the training, then trains as ``canned.py``."""

import multiprocessing
import os
import runpy
import subprocess
import sys
from pathlib import Path

import tensorflow as tf


def look(name):
    print(name, tf.estimator.DNNClassifier.__name__, flush=True)


if __name__ == "__main__":
    if os.environ["TFLAUNCH_TASK"] == "chief:0":
        program = "import tensorflow as tf; print('subprocess', tf.estimator.DNNClassifier.__name__)"
        subprocess.run([sys.executable, "-c", program], check=True)
        child = multiprocessing.get_context("spawn").Process(target=look, args=("spawned",))
        child.start()
        child.join()
    sys.argv[0] = str(Path(__file__).with_name("canned.py"))
    runpy.run_path(sys.argv[0], run_name="__main__")
