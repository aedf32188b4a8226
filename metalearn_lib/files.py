"""Writes that are whole or absent: a killed process leaves the old file or none, never half of one."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary sibling of `path`; on a clean exit it is flushed to disk and takes the place of `path`.

    On an exception the sibling is removed and `path` is untouched. A process killed in between leaves a sibling named
    `.<name>.<pid>.partial`, which nothing reads.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        with partial.open("rb") as written:
            os.fsync(written.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def check_output(path: str | os.PathLike[str], suffix: str) -> Path:
    """Where something is to be written that takes long to compute, refused before it is computed.

    Args:
        suffix: what its name must end in, so that nothing else is overwritten by a slip.

    Raises:
        ValueError: for a name that ends otherwise, what is there and is no file, or a folder that cannot be written in.
    """
    told, path = os.fspath(path), Path(path)
    if path.suffix != suffix:
        raise ValueError(f"{told!r} does not end in {suffix}; name it e.g. {path.stem or 'out'}{suffix}.")
    try:
        if path.exists() and not path.is_file():
            raise ValueError(f"{told!r} is there and is no file; name another.")
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise ValueError(f"{told!r} cannot be written ({fault.strerror}); name another place.") from fault
    if not os.access(path.parent, os.W_OK) or (path.exists() and not os.access(path, os.W_OK)):
        raise ValueError(f"{told!r} cannot be written (no permission); name another place.")
    return path


def cache_folder() -> Path:
    """Where the user keeps what can be made again: `metalearn_lib` in `XDG_CACHE_HOME`, or else in `~/.cache`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "metalearn_lib"


def files_digest(*folders: Path) -> str:
    """Hash every file of some folders, as the library's, trained weights included, by name and content."""
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            inside = path.relative_to(folder)
            if path.is_file() and not any(part.startswith((".", "__pycache__")) for part in inside.parts):
                content = hashlib.sha256(path.read_bytes()).hexdigest()
                digest.update(f"{inside.as_posix()}\0{content}\n".encode())
    return digest.hexdigest()
