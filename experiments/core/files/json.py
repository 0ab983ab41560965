"""Reads JSON from regular files, validated by a schema."""

from __future__ import annotations

import functools
from collections.abc import Hashable
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast

from pydantic import Field, FiniteFloat, TypeAdapter

from experiments.core.files.errors import read_bytes

T = TypeVar("T")

# JSON allows whole numbers that no float and no table column can hold.
Whole = Annotated[int, Field(ge=-(2**63), lt=2**63)]
Number = Whole | FiniteFloat
Positive = Annotated[int, Field(gt=0, lt=2**63)] | Annotated[FiniteFloat, Field(gt=0)]


def read_json(path: Path, schema: type[T]) -> T:
    """Read a JSON file, which another version or somebody else may have written.

    Args:
        path: of the file.
        schema: the type of its content: a mapping, a `TypedDict` or a dataclass, to any depth. A dataclass leaves out
            the keys that it does not know, which a newer version may write.

    Raises:
        OSError: the file does not exist or cannot be read.
        ValueError: the file is not JSON, or a value does not have the type of the schema.
    """
    content: T = _adapter(cast(Hashable, schema)).validate_json(read_bytes(path), strict=True)
    return content


@functools.cache
def _adapter(schema: Any) -> TypeAdapter[Any]:
    return TypeAdapter(schema)
