"""Preloaded into a zygote, this makes its kernels believe that the system has no Landlock."""

from insidegpt.grading import linux


def refuse(allowed):
    raise OSError("Landlock is not available")


linux.landlock = refuse
