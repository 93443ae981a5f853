"""One command on a machine with a GPU that has torch, NumPy and safetensors, and nothing else:

    python bench/gpu_report.py WORK OUT --crops crops.npz --golden GOLDEN

Each step is a process of its own with a time limit, and a line in OUT/results.jsonl when it ends; one that fails or is killed
costs itself alone. `make gpu-crops` writes the crops beforehand. Exit code 1 where a step failed.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
if __name__ == "__main__":
    sys.path[0] = str(ROOT)  # run as a file: the modules beside it are of a package

from bench.gpu import table  # noqa: E402


class Ended(BaseException):
    """A signal has come. No step outlives its report, and what is done is kept."""


class Step(NamedTuple):
    """run: module and generator function, which is given a `Setup`."""

    name: str
    run: str
    limit_s: float


STEPS = (
    Step("machine", "bench.gpu.ceilings:machine", 40),
    Step("ceilings", "bench.gpu.ceilings:ceilings", 40),
    Step("weights", "bench.gpu.ceilings:weights", 60),
    Step("golden", "bench.gpu.precision:golden", 120),
    Step("checks", "bench.gpu.path:checks", 90),
    Step("graphs", "bench.gpu.path:graphs", 90),
    Step("product", "bench.gpu.path:product", 240),
    Step("restart", "bench.gpu.path:restart", 90),
    Step("micro", "bench.gpu.micro:micro", 90),
    Step("prototype", "bench.gpu.prototype:prototype", 100),
    Step("noise", "bench.gpu.precision:noise", 40),
    Step("faults", "bench.gpu.faults:faults", 60),
)


def report(steps: Sequence[Step], options: dict[str, Any], out: Path, preload: Sequence[str] = ()) -> bool:
    """Run the steps, each with its line; whether none failed. options: what `Setup` is made of. preload: modules that the
    processes find imported; none of them may touch a device when it is."""
    (out / "steps").mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(preload))
    good, done = True, 0
    with (out / "results.jsonl").open("a", encoding="utf-8") as results:
        try:
            for step in steps:
                line = run(step, options, out / "steps", context)
                print(json.dumps(line), file=results, flush=True)
                done += 1
                good &= line["ok"] is not False
                print(table.progress(line), flush=True)
        except Ended:
            left = " ".join(step.name for step in steps[done:])
            rest = f"ended before '{left}'; the same with '--only {left}' is the rest" if left else "ended"
            print(f"\n{rest}; what is done is in {results.name}")
            raise
    return good


def run(step: Step, options: dict[str, Any], folder: Path, context: ForkServerContext) -> dict[str, Any]:
    """The line of a step. What it had found out when it failed, or was killed, is in it."""
    figures, log = folder / f"{step.name}.jsonl", folder / f"{step.name}.log"
    start = time.monotonic()
    process = context.Process(target=_step, args=(step.run, options, figures, log))
    process.start()
    try:
        process.join(step.limit_s)
        over = process.is_alive()
    finally:
        _kill(process.pid)
        process.join()
    line = {"step": step.name, "seconds": round(time.monotonic() - start, 1), **_outcome(figures)}
    if process.exitcode != 0:
        line |= {
            "ok": False,
            "error": f"over its limit of {step.limit_s:g} s; '--patience' gives more" if over else _why(process.exitcode, log),
        }
    return line


def _kill(pid: int | None) -> None:
    """With the processes that it started."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid or 0, signal.SIGKILL)


def _outcome(path: Path) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    with suppress(FileNotFoundError):
        for text in path.read_text("utf-8").splitlines():
            with suppress(json.JSONDecodeError):  # cut off as it was killed
                figures |= json.loads(text)
    skipped = figures.pop("skipped", None)
    return {"ok": None, "skipped": skipped} if skipped else {"ok": True, "figures": figures}


def _why(code: int | None, log: Path) -> str:
    if code is not None and code < 0:
        return f"killed by {signal.Signals(-code).name}"
    lines = log.read_text("utf-8", "replace").strip().splitlines() if log.exists() else []
    return lines[-1] if lines else f"exit code {code}"


def _step(target: str, options: dict[str, Any], figures: Path, log: Path) -> None:
    """In the step's process."""
    os.setsid()
    with log.open("wb") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    module, function = target.split(":")
    generator = getattr(import_module(module), function)
    import torch

    from bench.gpu.setup import Setup

    with figures.open("w", encoding="utf-8") as out, torch.inference_mode():
        for found in generator(Setup(**options)):
            print(json.dumps(found), file=out, flush=True)


def _end(number: int, frame: object) -> None:
    signal.signal(number, signal.SIG_IGN)  # once is enough
    raise Ended(number)


def main() -> None:
    names = [step.name for step in STEPS]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, help="folder for checkpoints (520 MB) and compiled kernels; kept for the next time")
    parser.add_argument("out", type=Path, help="folder for results.jsonl, and what each step said")
    parser.add_argument("--crops", type=Path, help="what 'make gpu-crops' wrote; without it, pictures that are no face")
    parser.add_argument("--golden", type=Path, help="folder of golden files, with their checkpoints or make_weights.py")
    parser.add_argument("--device", help="such as cuda:1; the best one by default")
    parser.add_argument("--tiny", action="store_true", help="tiny networks and short loops: does everything run?")
    parser.add_argument("--patience", type=float, default=1.0, help="what the steps' time limits are multiplied by")
    parser.add_argument("--only", nargs="+", choices=names, metavar="STEP", help=f"of {', '.join(names)}")
    parser.add_argument("--table", action="store_true", help="the table of OUT/results.jsonl, and nothing else")
    given = parser.parse_args()
    results = given.out / "results.jsonl"
    good = True
    if not given.table:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str((given.work / "compiled").resolve())
        options = {key: getattr(given, key) for key in ("work", "device", "tiny", "crops", "golden")}
        chosen = [step for step in STEPS if given.only is None or step.name in given.only]
        steps = [step._replace(limit_s=step.limit_s * given.patience) for step in chosen]
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _end)
        try:
            good = report(steps, options, given.out, ["bench.gpu.path", "bench.gpu.prototype"])
        except Ended as ended:
            sys.exit(128 + ended.args[0])
    print("\n" + table.screen(results))
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
