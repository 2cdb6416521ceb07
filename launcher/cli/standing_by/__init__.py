"""The command line as a process that stands by for the one that it belongs to."""
