"""Warnings that are shown, once, and the filters."""

import sys
import warnings


def old() -> None:
    warnings.warn("old is old", DeprecationWarning, stacklevel=2)


for _ in range(2):
    old()
warnings.warn("user warning", stacklevel=1)
warnings.warn("pending", PendingDeprecationWarning, stacklevel=1)
print(warnings.filters, sys.warnoptions)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    old()
print([str(item.message) for item in caught])
warnings.simplefilter("error")
old()
