"""The operator's image: what is in it, who it runs as, and what is not in it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import images
from support.node import Node

LARGEST_MEGABYTES = 650
LARGEST_LAST_LAYER_MEGABYTES = 8
TOOLS = {"gcc", "cc", "c++", "g++", "make", "ld", "as", "pip", "pip3", "uv", "git", "go", "curl", "wget"}


@pytest.fixture(scope="module")
def content(node: Node) -> Iterator[Path]:
    """The unpacked image, read-only by intention."""
    del node  # it has built the image, or said why it cannot
    container = images.buildah("from", images.OPERATOR)
    yield Path(images.buildah("mount", container))
    images.buildah("umount", container)
    images.buildah("rm", container)


def megabytes(folder: Path) -> float:
    """Each file once, however many names it has."""
    sizes = {path.lstat().st_ino: path.lstat().st_size for path in folder.rglob("*") if not path.is_dir()}
    return sum(sizes.values()) / 1e6


def test_it_is_small_and_an_upgrade_smaller(content: Path) -> None:
    assert megabytes(content) < LARGEST_MEGABYTES
    assert megabytes(content / "app") < LARGEST_LAST_LAYER_MEGABYTES


def test_it_runs_as_a_user_with_a_name_who_owns_nothing(content: Path) -> None:
    assert images.inspect(images.OPERATOR)["config"]["User"] == "65532"
    assert re.search(r"^green-llm:x:65532:", (content / "etc/passwd").read_text(), re.MULTILINE)
    assert not [path for path in content.rglob("*") if path.lstat().st_uid == 65532]


def test_nothing_can_be_built_or_installed_in_it(content: Path) -> None:
    folders = [content / name for name in ("bin", "usr/bin", "usr/local/bin", "app/bin", "opt/green-llm/bin")]
    assert not TOOLS & {path.name for folder in folders if folder.is_dir() for path in folder.iterdir()}
    assert not [path for path in content.rglob("pip") if path.is_dir()]
    assert not [path for path in content.rglob("ensurepip") if path.is_dir()]


def test_it_says_what_it_is() -> None:
    labels = images.inspect(images.OPERATOR)["config"]["Labels"]
    for name in ("title", "description", "version", "revision", "licenses"):
        assert f"org.opencontainers.image.{name}" in labels
    assert labels["org.opencontainers.image.title"] == "green-llm"


def test_its_packages_are_those_of_the_lock(content: Path) -> None:
    lock = (images.ROOT / "controller" / "requirements.lock").read_text()
    pinned = set(re.findall(r"(?m)^([a-z0-9.-]+==[^ ;]+)", lock))
    packages = next((content / "opt/green-llm/lib").glob("python3*/site-packages"))
    installed = {
        f"{name.replace('_', '-').lower()}=={version}"
        for name, _, version in (
            path.name.removesuffix(".dist-info").rpartition("-") for path in packages.glob("*.dist-info")
        )
    }
    assert installed
    assert installed <= pinned
