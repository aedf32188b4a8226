"""Making a C++ function where there is a compiler, once for a machine."""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import subprocess
import warnings
from functools import cache
from pathlib import Path

from metalearn_lib.files import atomic_path, cache_folder
from metalearn_lib.fingerprints import fingerprint

_FLAGS = (
    *("-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-shared", "-fPIC"),
    *("-Wall", "-Wextra"),
)


@cache
def compiled(source: Path) -> ctypes.CDLL | None:
    """The library made of a C++ file, and None where there is no compiler (`CXX`, or else `g++`) that makes it.

    The first process on a machine makes it, a second's work, and the others find it in the user's own cache, under a
    name of all that made it and of the processor, whose every instruction it may use.
    """
    compiler = shutil.which(os.environ.get("CXX", "g++"))
    if compiler is None:
        return None
    texts = [path.read_text(encoding="utf-8") for path in sorted(source.parent.glob("*.cpp"))]
    about = fingerprint(source.name, texts, _FLAGS, compiler, processor())
    made = cache_folder() / f"{source.stem}-{about}.so"
    try:
        if not made.exists():
            with atomic_path(made) as partial:
                subprocess.run([compiler, *_FLAGS, "-o", partial, source], capture_output=True, check=True)
        return ctypes.CDLL(str(made))
    except subprocess.CalledProcessError as fault:
        why = fault.stderr.decode(errors="replace")
        warnings.warn(f"{compiler} cannot make {source.name}, so it is not used: {why}", stacklevel=2)
    except OSError as fault:  # no room, or a file that is no library
        warnings.warn(f"{made} cannot be used, and plain PyTorch is: {fault}; delete the file.", stacklevel=2)
    return None


@cache
def processor() -> str:
    """What instructions this machine has."""
    cpu = Path("/proc/cpuinfo")
    lines = cpu.read_text().splitlines() if cpu.exists() else []
    return " ".join([platform.machine(), *[line for line in lines if line.startswith("flags")][:1]])
