"""Of a folder without ``__init__.py``, run by ``-m jobs.train``."""

import jobs

print(__name__, jobs.__path__, jobs.__file__)
