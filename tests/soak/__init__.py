"""Random faults for as long as one likes: ``python -m tests.soak``, or ``make soak SOAK_S=3600``."""
