"""python -m tests.machine_code: the own Triton kernels compiled for devices that need not be there; a line for each.

A program of its own, as Triton's interpreter, once chosen, stays in a process.
"""

from __future__ import annotations

import importlib
from typing import Any

import triton

from pipeline.liveportrait import kernels, spade_kernels

CAPABILITIES = (75, 80, 90)  # a T4, an A100, an H100


def machine_code(kernel: Any, capability: int, types: list[str], numbers: list[float]) -> bytes:
    """types: of the arguments that are given at each launch; numbers: the others, in order."""
    target = importlib.import_module("triton.backends.compiler").GPUTarget("cuda", capability, 32)
    signature = dict(zip(kernel.arg_names, types + ["constexpr"] * len(numbers), strict=True))
    constants = {(len(types) + k,): value for k, value in enumerate(numbers)}
    code: bytes = triton.compile(triton.compiler.ASTSource(kernel, signature, constants), target=target).asm["cubin"]
    return code


def cases(kind: str) -> list[tuple[Any, list[str], list[float]]]:
    """As the networks of full size launch them, in the type `kind`."""
    f32 = "*fp32"
    chunks, pixels, channels = spade_kernels.CHUNKS, spade_kernels.PIXELS, spade_kernels.CHANNELS
    tail = [256, 128, 128, 2, True, 0.2, 1e-5, chunks, 512, pixels, channels]
    return [
        (kernels.sparse_motions_kernel, [kind, f32, f32, kind, *["i32"] * 3], [4, 16, 64, 64, 22, 50.0, 112, 128, kernels.BLOCK]),
        (kernels.sample_kernel, [f32, f32, f32, kind, *["i32"] * 6], [32, 16, 64, 64, 22, 32, kernels.BLOCK]),
        (spade_kernels.moments_kernel, [kind, f32], [512, 4096, 128, pixels, channels]),
        (spade_kernels.tail_kernel, [kind, f32, *[kind] * 6], tail),
    ]


if __name__ == "__main__":
    for capability in CAPABILITIES:
        for kind in ("*fp16", "*fp32"):
            for kernel, types, numbers in cases(kind):
                size = len(machine_code(kernel, capability, types, numbers))
                print(f"{kernel.fn.__name__} sm_{capability} {kind[1:]} {size} bytes", flush=True)
