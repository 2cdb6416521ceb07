"""Caches that depend on the environment: time zone, temporary folder, home, PATH."""

import os
import random
import shutil
import tempfile
import time
import uuid
from pathlib import Path

print(time.tzname, time.localtime(0).tm_hour, tempfile.gettempdir(), Path.home())
print(shutil.which("sh"), os.environ["TMPDIR"], uuid.uuid4() != uuid.uuid4(), 0 <= random.random() < 1)
with tempfile.NamedTemporaryFile() as file:
    print(Path(file.name).parent)
