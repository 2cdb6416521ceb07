"""Has a module named like an installed one."""

import json

import six

print(six.WHOSE, six.__file__, json.WHOSE)
