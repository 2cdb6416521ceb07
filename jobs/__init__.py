"""Jobs that come with the launcher. They import :mod:`launcher.estimator` and nothing else of it."""
