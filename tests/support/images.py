"""Container images without a registry: buildah with a storage of its own, kept between runs for its layers."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
KEPT = Path.home() / ".cache" / "green-llm" / "images"
OPERATOR, PAUSE = "local.test/green-llm:dev", "local.test/pause:1"
PROGRAMS = ("buildah", "mmdebstrap", "go")
BASE_PACKAGES = "python3,python3-venv,ca-certificates"
# What a build needs of this machine where it lies behind a proxy; where it does not, they are not there.
LENT = ("/etc/ssl/certs", "/etc/pip.conf")


def buildah(*arguments: object) -> str:
    """Run buildah on our storage.

    Raises:
        RuntimeError: it failed; with the end of what it said.
    """
    KEPT.mkdir(parents=True, exist_ok=True)
    command = [
        "buildah",
        "--root",
        KEPT / "storage",
        "--runroot",
        "/run/green-llm-images",
        "--storage-driver",
        "overlay",
    ]
    ran = subprocess.run([*map(str, command), *map(str, arguments)], capture_output=True, text=True, check=False)
    if ran.returncode:
        raise RuntimeError(f"buildah {' '.join(map(str, arguments))}: {ran.stderr[-3000:]}")
    return ran.stdout.strip()


def has(image: str) -> bool:
    return (
        image.removeprefix("local.test/")
        in buildah("images", "--format", "{{.Name}}:{{.Tag}}").replace("local.test/", "").split()
    )


def from_scratch(image: str, content: Path, *config: str) -> None:
    container = buildah("from", "scratch")
    buildah("add", "-q", container, content, "/")
    buildah("config", *config, container)
    buildah("commit", "-q", "--rm", container, image)


def base() -> str:
    """An image with Python, of this machine's own distribution and package sources."""
    release = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    suite = release["VERSION_CODENAME"]
    image = f"local.test/python:{suite}"
    if not has(image):
        lists = [*Path("/etc/apt/sources.list.d").glob("*.sources"), Path("/etc/apt/sources.list")]
        sources = next(path for path in lists if path.exists())
        tar = KEPT / "base.tar"
        command = ["mmdebstrap", "--variant=minbase", f"--include={BASE_PACKAGES}", suite, str(tar), str(sources)]
        subprocess.run(command, check=True, capture_output=True)
        from_scratch(image, tar)
        tar.unlink()
    return image


def pause() -> str:
    """The image of a pod's sandbox."""
    if not has(PAUSE):
        program = KEPT / "pause"
        source = Path(__file__).parent / "pause" / "main.go"
        environment = os.environ | {"CGO_ENABLED": "0"}
        command = ["go", "build", "-trimpath", "-ldflags=-s -w", "-o", str(program), str(source)]
        subprocess.run(command, check=True, capture_output=True, env=environment, cwd="/")
        from_scratch(PAUSE, program, "--entrypoint", '["/pause"]', "--user", "65535")
        program.unlink()
    return PAUSE


def operator() -> str:
    """The operator's image, built from the project's Dockerfile; layers that are as before are not built again."""
    lent = [f"--volume={path}:{path}:ro" for path in LENT if Path(path).exists()]
    buildah(
        "bud", "--layers", "--isolation", "chroot", "--network", "host", *lent, "--build-arg", f"BASE={base()}",
        "-f", ROOT / "controller" / "Dockerfile", "-t", OPERATOR, ROOT,
    )  # fmt: skip
    return OPERATOR


def of_program(program: Path, *config: str) -> str:
    """An image of a program of this machine on the Debian base; its name has the program's age, so that a newer one is built."""
    image = f"local.test/{program.name}:{int(program.stat().st_mtime)}"
    if not has(image):
        container = buildah("from", base())
        buildah("copy", "-q", container, program.resolve(), f"/usr/local/bin/{program.name}")
        buildah("config", "--entrypoint", json.dumps([f"/usr/local/bin/{program.name}"]), *config, container)
        buildah("commit", "-q", "--rm", container, image)
    return image


def inspect(image: str) -> dict[str, Any]:
    """What the image says of itself."""
    found: dict[str, Any] = json.loads(buildah("inspect", "--type", "image", image))["OCIv1"]
    return found


def archive(image: str) -> Path:
    """The image as a file that containerd takes; kept until there is a newer image of the name."""
    name = image.rpartition("/")[2].replace(":", "-")
    target = KEPT / f"{name}-{buildah('images', '--quiet', image)}.tar"
    if not target.exists():
        for older in KEPT.glob(f"{name}-*.tar*"):
            older.unlink()
        unfinished = target.with_suffix(".tar.new")
        buildah("push", "-q", image, f"docker-archive:{unfinished}:{image}")
        unfinished.rename(target)
    return target
