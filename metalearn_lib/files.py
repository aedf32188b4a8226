"""Writes that are whole or absent: a killed process leaves the old file or none, never half of one."""

from __future__ import annotations

import hashlib
import os
import re
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

_DIGEST, _UNSIGNED = b"metalearn digest", b"0" * 64
_SIGNATURE = re.compile(_DIGEST + rb".{2,4}?([0-9a-f]{64})", re.DOTALL)


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary sibling of `path`; on a clean exit it is flushed to disk and takes the place of `path`.

    On an exception the sibling is removed and `path` is untouched. A process killed in between leaves a sibling named
    `.<name>.<machine>-<process>.partial`, which nothing reads, and which goes with the next write of `path` there.

    Raises:
        OSError: naming `path`, where there is no room for it, or nothing may be written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    siblings = f".{path.name}.{socket.gethostname()}-"
    partial = path.with_name(f"{siblings}{os.getpid()}.partial")
    for each in path.parent.iterdir():
        if each.name.startswith(siblings) and _has_ended(
            each.name.removeprefix(siblings).removesuffix(".partial")
        ):
            each.unlink(missing_ok=True)
    try:
        yield partial
        with partial.open("rb") as written:
            os.fsync(written.fileno())
        partial.replace(path)
    except OSError as fault:
        if fault.filename in (None, str(partial)):
            raise OSError(fault.errno, fault.strerror, str(path)) from fault
        raise
    finally:
        partial.unlink(missing_ok=True)


def _has_ended(process: str) -> bool:
    """Whether this machine surely has no such process any more."""
    if os.name == "nt" or not process.isdecimal():
        return False  # on Windows, to ask is to end it
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except OSError:
        pass  # another user's
    return False


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


def check_folder(path: str | os.PathLike[str]) -> None:
    """Refuse a folder that something is to be written in later, before that is computed.

    Raises:
        ValueError: where it cannot be made, or nothing written in it.
    """
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path) as probe:
            probe.write(bytes(4096))
    except OSError as fault:
        raise ValueError(f"{os.fspath(path)!r} cannot be written in ({fault.strerror}).") from fault


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


def write_parquet(path: str | os.PathLike[str], table: pa.Table) -> None:
    """Write a table, whole or not at all, with a digest of the file's own bytes in it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, table.schema, compression="zstd") as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({_DIGEST: _UNSIGNED})
    content = sink.getvalue().to_pybytes()
    with atomic_path(path) as partial:
        partial.write_bytes(_signed(content, hashlib.sha256(content).hexdigest().encode()))


def read_parquet(path: str | os.PathLike[str]) -> pa.Table:
    """A table as it was written; one of another program's, which holds no digest, as it is.

    Raises:
        ValueError: for a file that is not what was written, or no table.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    content = Path(path).read_bytes()
    found = _SIGNATURE.search(content)
    if found and hashlib.sha256(_signed(content, _UNSIGNED)).hexdigest().encode() != found[1]:
        raise ValueError("it is not what was written")
    try:
        table = pq.read_table(pa.BufferReader(content))
    except (pa.ArrowException, OSError) as fault:
        raise ValueError(str(fault)) from fault
    told = {name: value for name, value in (table.schema.metadata or {}).items() if name != _DIGEST}
    return table.replace_schema_metadata(told or None)


def _signed(content: bytes, digest: bytes) -> bytes:
    """A file with another digest in it."""
    found = _SIGNATURE.search(content)
    assert found is not None
    return content[: found.start(1)] + digest + content[found.end(1) :]
