"""Run by ``-m package.inner.tool``."""

import sys

from .. import inner  # noqa: TID252

print(__name__, __package__, __spec__.name, sys.argv[1:], inner.__name__, sys.modules["__main__"].__spec__ is __spec__)
if __name__ == "__main__":
    sys.exit("exit of a module")
