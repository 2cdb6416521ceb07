"""Classes of __main__ in pickles, sources of __main__ by inspect."""

import dataclasses
import inspect
import pickle
import sys
import traceback
import typing


@dataclasses.dataclass
class Row:
    name: "str"
    parts: "list[int]"


def function(argument: int) -> int:
    """Its source is shown."""
    return argument + 1


print(pickle.loads(pickle.dumps(Row("a", [1]))), pickle.loads(pickle.dumps(function))(1))
print(inspect.getsource(function), inspect.getsourcelines(Row)[1], inspect.getmodule(Row))
print(inspect.getfile(sys.modules["__main__"]), typing.get_type_hints(Row))
try:
    function("text")  # shown in the traceback
except TypeError:
    traceback.print_exc()
