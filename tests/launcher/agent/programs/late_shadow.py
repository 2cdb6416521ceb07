"""Puts a folder with a module named like an installed one in front while it runs."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).with_name("shadow")))
import six

print(six.WHOSE)
