"""Files: atomic writes, and noticing edits."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from green_llm.errors import StoreError

Stamp = tuple[int, int, int]
"""(modified ns, size, inode): a new stamp means a new content."""


def write_atomically(path: Path, text: str) -> None:
    """Replace a file whole or not at all, keeping its mode.

    Raises:
        StoreError: it cannot be written; the old content stands.
    """
    temporary: str | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        with open(handle, "w", encoding="utf-8", newline="") as file:  # noqa: PTH123 - a descriptor, not a path
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(path.stat().st_mode & 0o777 if path.exists() else 0o644)
        Path(temporary).replace(path)
    except OSError as error:
        if temporary is not None:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()
        raise StoreError(f"{path}: cannot be written: {error.strerror}; check its permissions and the disk") from error


def require_writable(directory: Path) -> None:
    """Make a directory where there is none, and a file in it that goes again.

    Raises:
        StoreError: it cannot be written to.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory) as file:
            file.write(b"\0")
            file.flush()
    except (FileExistsError, NotADirectoryError) as error:
        raise StoreError(f"{directory}: cannot be written: a file is in the way; move it") from error
    except OSError as error:
        raise StoreError(
            f"{directory}: cannot be written: {error.strerror}; give this user the right to write there, or free the disk"
        ) from error


def read(path: Path) -> str:
    """The text of a file, line ends as they are.

    Raises:
        StoreError: it cannot be read.
    """
    try:
        return path.read_bytes().decode()
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise StoreError(f"{path}: is not UTF-8 text ({error.reason} at byte {error.start})") from error


def stamp(path: Path) -> Stamp | None:
    """The file's stamp; None where it is not there."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def stamps(paths: Iterable[Path]) -> dict[Path, Stamp]:
    """The stamps of the files that are there."""
    found = {path: stamp(path) for path in paths}
    return {path: value for path, value in found.items() if value is not None}
