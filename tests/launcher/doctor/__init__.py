"""Tests of tflaunch doctor."""
