def fail() -> None:
    raise OSError("beside")
