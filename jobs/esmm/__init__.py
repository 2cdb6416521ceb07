"""ESMM, the entire space multi-task model of clicks and conversions (Ma et al. 2018, https://arxiv.org/abs/1804.07931).

``python -m jobs.esmm --help`` lists its commands. Nothing here imports TensorFlow before a command needs it.
"""

__all__ = ["input", "progress"]
