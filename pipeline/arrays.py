"""Arrays of numbers in a safetensors file (https://github.com/huggingface/safetensors#format), without the package of that
name, which comes with PyTorch's extra."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ABOUT = "puppetcast"  # key of what is said of the arrays
MAX_HEAD, MAX_BYTES = 1_000_000, 200_000_000
_TYPES = {"F32": "<f4", "F64": "<f8"}


def save_arrays(path: Path, arrays: Mapping[str, NDArray[Any]], about: Mapping[str, Any]) -> None:
    """Write float arrays and what is said of them. OSError."""
    head: dict[str, Any] = {"__metadata__": {ABOUT: json.dumps(about)}}
    end = 0
    data = []
    for name, array in arrays.items():
        kind = "F64" if array.dtype == np.float64 else "F32"
        data.append(np.ascontiguousarray(array, _TYPES[kind]).tobytes())
        head[name] = {"dtype": kind, "shape": array.shape, "data_offsets": [end, end + len(data[-1])]}
        end += len(data[-1])
    packed = json.dumps(head).encode()
    packed += b" " * (-len(packed) % 8)
    path.write_bytes(len(packed).to_bytes(8, "little") + packed + b"".join(data))


def about_file(path: Path) -> dict[str, Any]:
    """What is said of the arrays of a file; ValueError where it is none of ours. OSError."""
    with path.open("rb") as file:
        about = json.loads(json.loads(_head(file.read(8 + MAX_HEAD)))["__metadata__"][ABOUT])
    if not isinstance(about, dict):
        raise ValueError("nothing is said of it")
    return about


def load_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Its float arrays by name, finite; ValueError, KeyError or TypeError where it is damaged. OSError."""
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"larger than {MAX_BYTES // 1_000_000} MB")
    raw = path.read_bytes()
    packed = _head(raw)
    data = raw[8 + len(packed) :]
    head = json.loads(packed)
    return {name: _array(data, entry) for name, entry in head.items() if name != "__metadata__"}


def _head(raw: bytes) -> bytes:
    size = int.from_bytes(raw[:8], "little")
    if not 0 < size <= min(MAX_HEAD, len(raw) - 8):
        raise ValueError("no head")
    return raw[8 : 8 + size]


def _array(data: bytes, entry: Mapping[str, Any]) -> NDArray[Any]:
    kind, shape = np.dtype(_TYPES[entry["dtype"]]), entry["shape"]
    begin, end = entry["data_offsets"]
    if not 0 <= begin <= end <= len(data) or end - begin != math.prod(shape) * kind.itemsize:
        raise ValueError("it is cut short")
    array = np.frombuffer(data[begin:end], kind).reshape(shape)
    if not np.isfinite(array).all():
        raise ValueError("it holds what is no number")
    return array
