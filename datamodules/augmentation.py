"""Data augmentation (slide "Augmented data"): random changes to the training images, given as a list of operations."""

import ast
import difflib
import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from datamodules.image_operations import MAX_PIXEL, POLICIES, Affine, Erase, Flip, Operation, Policy, Shift
from datamodules.loader import generator
from datamodules.streaming import LazyInputs

OPERATIONS: dict[str, Callable[..., Operation]] = {
    "shift": Shift,
    "flip": Flip,
    "affine": Affine,
    "erase": Erase,
    **{name: functools.partial(Policy, name) for name in POLICIES},
}


def parse_operations(words: Sequence[str]) -> list[Operation]:
    """Parse a list of operations such as ["shift(3)", "flip"].

    Raises:
        ValueError: empty list, malformed entry, unknown or repeated name, unknown argument, argument out of range, or a
            policy that is not first.
    """
    if not words:
        raise ValueError("augmentation is an empty list: leave it out for none")
    names: list[str] = []
    operations: list[Operation] = []
    for word in words:
        name, arguments, options = _parts(word)
        if name not in OPERATIONS:
            near = difflib.get_close_matches(name.lower(), OPERATIONS, n=1)
            guess = f"did you mean '{near[0]}'? " if near else ""
            raise ValueError(f"unknown augmentation '{name}': {guess}valid: {', '.join(OPERATIONS)}")
        if name in names:
            raise ValueError(f"augmentation {name} is given twice")
        # A policy works on 8-bit pixels, and its copies are made before any other operation.
        if operations and name in POLICIES:
            raise ValueError(f"augmentation {name} must be the first of the list, and the only policy")
        signature = inspect.signature(OPERATIONS[name])
        try:
            signature.bind(*arguments, **options)
        except TypeError:
            valid = ", ".join(f"{key} (default: {p.default})" for key, p in signature.parameters.items())
            raise ValueError(f"augmentation '{word}': {name} takes {valid}") from None
        names.append(name)
        operations.append(OPERATIONS[name](*arguments, **options))
    return operations


def _parts(word: str) -> tuple[str, list[Any], dict[str, Any]]:
    """Split `affine(20, shear=0)` into its name, its arguments and its named arguments."""
    try:
        node = ast.parse(word, mode="eval").body
        call = node if isinstance(node, ast.Call) else ast.Call(node, [], [])
        if not isinstance(call.func, ast.Name):
            raise ValueError
        options = {str(item.arg): ast.literal_eval(item.value) for item in call.keywords}
        return call.func.id, [ast.literal_eval(item) for item in call.args], options
    except (SyntaxError, TypeError, ValueError):
        raise ValueError(
            f"augmentation '{word}' must read like flip, shift(3) or affine(degrees=30, shear=0), in quotes if it has "
            "a comma"
        ) from None


class Augmentation:
    """The augmented training images of each epoch: a pure function of (seed, epoch, row).

    Args:
        operations: operations in the order of their application. Each has its own random generator, so adding one does
            not change the draws of others.
        images: (n, channels, height, width), pixels from 0 (black) to 1.
        seed: seed of the draws.
        repeats: number of times that the images are repeated: row i is image i % n, augmented separately.

    Raises:
        ValueError: the samples are not images, or an operation does not support them.
    """

    def __init__(
        self, operations: Sequence[Operation], images: Tensor | LazyInputs, *, seed: int, repeats: int = 1
    ) -> None:
        if len(images.shape) != 4:
            raise ValueError(f"augmentation needs images, and the samples here are of shape {tuple(images.shape[1:])}")
        for operation in operations:
            operation.validate_shape(torch.Size(images.shape[1:]))
            if isinstance(operation, Policy) and operation.copies and not isinstance(images, Tensor):
                raise ValueError(f"augmentation {operation.name} makes copies in memory: in_memory must be true")
        self.operations = operations
        self.images = images
        self.seed = seed
        self.rows = repeats * len(images)
        self._tables: tuple[int, list[Tensor]] = -1, []
        self._copies: dict[int, Tensor] = {}

    def parameters(self, epoch: int) -> list[Tensor]:
        """Return the random parameters of each operation in an epoch, (rows, …), drawn on the CPU."""
        if self._tables[0] != epoch:
            self._tables = epoch, [self._draw(operation, epoch) for operation in self.operations]
        return self._tables[1]

    def _draw(self, operation: Operation, epoch: int) -> Tensor:
        if isinstance(operation, Policy) and operation.copies:
            epoch %= operation.copies
        draws = generator(self.seed, f"augmentation/{epoch}/{operation.name}")
        return operation.draw(self.rows, self.images.shape[2:], draws).to(self.images.device)

    def __call__(self, rows: Tensor, epoch: int) -> Tensor:
        """Return the images of some rows, (b,), in an epoch: (b, channels, height, width)."""
        x = self.images[rows % len(self.images)]
        for operation, drawn in zip(self.operations, self.parameters(epoch), strict=True):
            if isinstance(operation, Policy) and operation.copies:
                x = self._copy(operation, epoch % operation.copies, drawn)[rows].to(x) / MAX_PIXEL
            else:
                x = operation.apply(x, drawn[rows])
        return x

    def _copy(self, policy: Policy, index: int, drawn: Tensor) -> Tensor:
        if index not in self._copies:
            assert isinstance(self.images, Tensor)
            images = self.images.repeat(self.rows // len(self.images), 1, 1, 1)
            self._copies[index] = (policy.apply(images, drawn) * MAX_PIXEL).round().to(torch.uint8)
        return self._copies[index]
