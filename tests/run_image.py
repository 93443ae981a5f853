"""Runs the steps of an image's build stage in a fresh folder, where no container engine is: `make image-check`.

COPY copies from the repository, RUN runs with the image's paths moved into the folder, and the result has to serve. The
packages of the last stage are asked of apt, but not installed. TORCH_INDEX in the environment is the build argument of
that name, of the image that has PyTorch.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).parent.parent
STEP = re.compile(r"^(FROM|ARG|WORKDIR|COPY|RUN) (.*)$")


def steps(text: str) -> list[tuple[str, str]]:
    joined = re.sub(r"\\\n", " ", "\n".join(line for line in text.splitlines() if not line.startswith("#")))
    return [(m[1], m[2].strip()) for line in joined.splitlines() if (m := STEP.match(line.strip()))]


def main(dockerfile: Path) -> None:
    folder = Path(tempfile.mkdtemp(prefix="image-"))
    source = folder / "src"
    source.mkdir()
    environment, stage = dict(os.environ), 0
    for kind, rest in steps(dockerfile.read_text()):
        stage += kind == "FROM"
        if kind == "ARG":
            name, _, value = rest.partition("=")
            environment.setdefault(name, value)
        elif kind == "COPY" and stage == 1:
            *sources, target = rest.split()
            for path in sources:
                copy = shutil.copytree if (ROOT / path).is_dir() else shutil.copy
                copy(ROOT / path, source / (path if target == "./" else target))
        elif kind == "RUN" and stage == 1:
            command = rest.replace("/opt/puppetcast", str(folder / "opt"))
            print("+", command, flush=True)
            subprocess.run(["bash", "-euc", command], cwd=source, env=environment, check=True)
        elif kind == "RUN":
            packages = re.search(r"--no-install-recommends ([^&]*)", rest)
            assert packages is not None
            subprocess.run(
                ["apt-get", "install", "--simulate", "-qq", *packages[1].split()], check=True, stdout=subprocess.DEVNULL
            )
    serve(folder / "opt" / "bin" / "puppetcast", folder)
    shutil.rmtree(folder)
    print(f"{dockerfile.name}: every step ran, and what was built serves")


def serve(program: Path, folder: Path) -> None:
    """In a folder without the repository: what is not in the package is missing here."""
    environment = {
        **os.environ,
        "PUPPETCAST_DOWNLOADS__FETCH": "false",
        "PUPPETCAST_PERSISTENCE__FILE": str(folder / "state.json"),
    }
    process = subprocess.Popen([str(program), "serve", "--port", "18080"], cwd=folder, env=environment)
    try:
        for _ in range(120):
            time.sleep(0.5)
            try:
                with urllib.request.urlopen("http://127.0.0.1:18080/readyz", timeout=2) as reply:
                    assert reply.status == 200
                with urllib.request.urlopen("http://127.0.0.1:18080/", timeout=2) as page:
                    assert b"puppet" in page.read()
                return
            except OSError:
                continue
        sys.exit("it did not become ready")
    finally:
        process.terminate()
        process.wait(20)


if __name__ == "__main__":
    main(ROOT / "docker" / sys.argv[1])
