"""``python with_estimator.py script.py ARG…``: a script by hand on a TensorFlow that has no tf.estimator of its own.

Nobody can start such a script by hand without something like this; it changes nothing else.
"""

import runpy
import sys

from launcher.estimator import compat

compat.install_on_import()
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
