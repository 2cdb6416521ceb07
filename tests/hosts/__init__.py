"""Tests over several hosts, which are made of namespaces (see ``namespaces``)."""
