"""The state of logging, and what it writes."""

import logging
import sys

print(logging.root.handlers, logging.root.level, logging.getLoggerClass(), logging.lastResort)
logging.warning("through the last resort: %s", 1)
logging.getLogger("own").error("a second one")
print(logging.root.handlers[0].stream is sys.stderr)
logging.basicConfig(format="%(process)d %(name)s %(threadName)s %(message)s", force=True)
logging.getLogger("own").warning("formatted")
record = logging.LogRecord("n", logging.INFO, "f", 1, "m", None, None)
print(0 <= record.relativeCreated < 60_000)
from absl import logging as absl_logging  # noqa: E402

absl_logging.info("not shown")
absl_logging.warning("shown by the root handler")
print(logging.root.handlers, absl_logging.get_absl_handler().python_handler.stream is sys.stderr)
