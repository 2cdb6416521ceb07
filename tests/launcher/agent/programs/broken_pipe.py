"""Writes into a pipe that nobody reads."""

import os

reader, writer = os.pipe()
os.close(reader)
print(writer)
os.write(writer, b"x")
