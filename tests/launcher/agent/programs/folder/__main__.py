"""Run as a folder."""

import sys

import beside

print(__name__, __package__, __spec__.name, __file__, sys.argv, sys.path[0], beside)
beside.fail()
