"""What EasyRec 0.7.1 (2023) needs of its environment, on any TensorFlow from 2.15 on: names of Python up to 3.9, and of
TensorFlow up to 2.12. ``make test-peers`` puts this into the environment of the libraries."""

import collections
import collections.abc
import importlib.util
import sys

for _name in collections.abc.__all__:
    if not hasattr(collections, _name):
        setattr(collections, _name, getattr(collections.abc, _name))


class _EasyRec:
    """Acts when it is about to be imported."""

    def find_spec(self, fullname, path=None, target=None):
        if fullname != "easy_rec":
            return None
        sys.meta_path.remove(self)
        from tensorflow.python.framework import indexed_slices, ops
        from tensorflow.python.util import nest

        ops.IndexedSlices = indexed_slices.IndexedSlices
        nest.is_sequence = nest.is_nested
        return importlib.util.find_spec(fullname)


sys.meta_path.insert(0, _EasyRec())
