"""``python -m launcher``: the same as ``tflaunch``."""

from launcher.cli import main

if __name__ == "__main__":
    main()
