"""The three standard streams."""

import os
import sys

print(repr(sys.stdin.read()), sys.stdin.buffer.read(), os.read(0, 10))
for stream in (sys.stdin, sys.stdout, sys.stderr):
    print(stream.name, stream.mode, stream.encoding, stream.errors, stream.newlines, stream.line_buffering)
    print(stream.fileno(), stream.isatty(), stream.readable(), stream.writable(), stream.write_through, stream.closed)
    print(type(stream), type(stream.buffer), type(getattr(stream.buffer, "raw", None)), stream.buffer.mode)
print(sys.__stdin__ is sys.stdin, sys.__stdout__ is sys.stdout, sys.__stderr__ is sys.stderr)
print("grüße ✓ \N{SNOWMAN}".encode(sys.stdout.encoding, "replace"))
print("to stderr \udce4 ü", file=sys.stderr)
sys.stdout.write("no end of line")
sys.stdout.flush()
sys.stderr.write("|half")
sys.stdout.write("\n")
os.write(1, b"raw\n")
sys.stdout.buffer.write(b"bytes \xff\n")
print("a" * 100_000)
try:
    print("\udce4 cannot be encoded")
except UnicodeEncodeError as error:
    print(error)
print("last words without newline", end="")
