"""The architectures of the lecture: each a pure network and a thin Lightning module around it, one file each.

`__all__` lists the classes that the command line knows by their short name.
"""

from lightning_modules.fully_connected import FullyConnected

__all__ = ["FullyConnected"]
