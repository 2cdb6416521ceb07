"""Run by ``-m package``."""

import sys

from . import inner
from .inner import tool

print(__name__, __package__, __spec__.name, __spec__.parent, __file__, sys.argv, sys.path[0], inner.__name__, tool)
raise ValueError(sys.argv)
