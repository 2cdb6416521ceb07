"""What a script sees of its command line and of itself."""

import sys

print(sys.argv)
print(sys.orig_argv[1:])
print(sys.path)
print(__name__, __file__, __doc__, __package__, __spec__, globals()["__cached__"])
print(type(__loader__), __loader__.name, __loader__.path)
print(sorted(globals()))
print(type(__builtins__), __annotations__, sys.modules["__main__"].__dict__ is globals())
print(sys.executable, sys.prefix, sys.flags)
