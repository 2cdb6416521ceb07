"""Imported, and run by ``-m jobs.mine``."""

import sys

print("user's jobs", __name__, sys.path[0])
