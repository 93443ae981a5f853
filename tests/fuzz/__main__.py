"""Runs targets for so many minutes in all: `make fuzz MIN=10`, or `python -m tests.fuzz --minutes 10 offers rtp`.

Guided by coverage where atheris is, by a seed alone where it is not. What raises is kept below out/fuzz/.
"""

from __future__ import annotations

import argparse
import logging
import re
import subprocess
import sys
import time
import traceback
from importlib.util import find_spec
from pathlib import Path

from . import CORPUS

OUT = Path("out/fuzz")
OPENAPI = "openapi"  # which asks a whole server, by schemathesis


def guided(name: str, seconds: int) -> None:
    """Run a target in this process under atheris, which ends it."""
    import atheris

    with atheris.instrument_imports(include=["streamer", "pipeline", "aiortc", "aioice"]):
        from .targets import MOST, TARGETS
    logging.disable()
    found = OUT / "corpus" / name
    found.mkdir(parents=True, exist_ok=True)
    options = [
        f"-max_total_time={seconds}", f"-max_len={MOST}", "-timeout=20", "-rss_limit_mb=4096", "-print_final_stats=1",
        f"-artifact_prefix={OUT}/{name}-",
    ]  # fmt: skip
    atheris.Setup([name, *options, str(found), str(CORPUS / name)], TARGETS[name])
    atheris.Fuzz()


def unguided(name: str, seconds: int) -> None:
    """Run a target in this process with what a seed makes of its corpus; the first fault ends it."""
    from .targets import TARGETS, corpus, mutants

    logging.disable()
    end, count = time.monotonic() + seconds, 0
    for data in mutants(corpus(name), 10**12, seed=int(time.time())):
        try:
            TARGETS[name](data)
        except Exception:
            (OUT / f"{name}-crash").write_bytes(data)
            traceback.print_exc()
            sys.exit(77)
        count += 1
        if time.monotonic() > end:
            break
    print(f"stat::number_of_executed_units: {count}")


def main() -> int:
    known = sorted(folder.name for folder in CORPUS.iterdir())  # the targets themselves are imported when atheris looks on
    known += [OPENAPI] if find_spec("schemathesis") else []
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", choices=[[], *known], help="all of them, where none is named")
    parser.add_argument("--minutes", type=float, default=10, help="of all together")
    parser.add_argument("--alone", type=int, help="of one, in this process: seconds", metavar="SECONDS")
    asked = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    names, faults = asked.targets or known, 0
    if asked.alone and names == [OPENAPI]:
        from .openapi import main as ask

        return 77 if ask(asked.alone) else 0
    if asked.alone:
        (guided if find_spec("atheris") else unguided)(names[0], asked.alone)
        return 0
    for name in names:
        begin, seconds = time.monotonic(), max(round(asked.minutes * 60 / len(names)), 1)
        run = [sys.executable, "-m", "tests.fuzz", "--alone", str(seconds), name]
        done = subprocess.run(run, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", check=False)
        counts = re.findall(r"number_of_executed_units: (\d+)", done.stdout) or re.findall(
            r"^#(\d+)\s", done.stdout, re.MULTILINE
        )
        faults += done.returncode != 0
        end = f"  FAULT, see {OUT}/{name}.log" if done.returncode else ""
        (OUT / f"{name}.log").write_text(done.stdout)
        print(
            f"{name:14} {int(counts[-1]) if counts else 0:>12,} executions in {time.monotonic() - begin:5.0f} s{end}", flush=True
        )
    return min(faults, 1)


if __name__ == "__main__":
    sys.exit(main())
