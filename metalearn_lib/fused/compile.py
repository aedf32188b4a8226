"""Making a C++ function where there is a compiler, once for a machine."""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import warnings
from collections.abc import Callable, Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from metalearn_lib.files import atomic_path, cache_folder

FLAGS = (
    *("-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-shared", "-fPIC"),
    *("-Wall", "-Wextra"),
)

_TYPES = {"p": ctypes.c_void_p, "i": ctypes.c_int, "l": ctypes.c_int64}


class Compiled:
    """A function of a C++ file beside this one, which returns why it refuses its arguments, or nothing.

    The first process on a machine makes it, a second's work, and the others find it in the user's own cache, under a
    name of all that made it and of the processor, whose every instruction it may use.

    Args:
        source: the file's name.
        name: the function's.
        arguments: a letter for each: a pointer, an int, or a long one.
    """

    def __init__(self, source: str, name: str, arguments: str) -> None:
        self.source, self.name = Path(__file__).with_name(source), name
        self.arguments = [_TYPES[letter] for letter in arguments if letter != " "]

    @cached_property
    def function(self) -> Callable[..., None] | None:
        """None where there is no compiler (`CXX`, or else `g++`) that makes it.

        Raises:
            ValueError: when called, for arguments that it refuses.
        """
        compiler = shutil.which(os.environ.get("CXX", "g++"))
        if compiler is None:
            return None
        made = self.made_by(compiler)
        try:
            if not made.exists():
                with atomic_path(made) as partial:
                    command = [compiler, *FLAGS, "-o", partial, self.source]
                    subprocess.run(command, capture_output=True, check=True)
            function = ctypes.CDLL(str(made))[self.name]
        except subprocess.CalledProcessError as fault:
            why = fault.stderr.decode(errors="replace")
            warnings.warn(
                f"{compiler} cannot make {self.source.name}, so it is not used: {why}", stacklevel=2
            )
            return None
        except (OSError, AttributeError) as fault:  # no room, or a file that is no library, or another's
            warnings.warn(
                f"{made} cannot be used, and plain PyTorch is: {fault}; delete the file.", stacklevel=2
            )
            return None
        function.argtypes, function.restype = self.arguments, ctypes.c_char_p
        function.errcheck = _refuse  # type: ignore[assignment]
        return function

    def made_by(self, compiler: str) -> Path:
        """Where the library lies that `compiler` makes."""
        texts = [path.read_text(encoding="utf-8") for path in sorted(self.source.parent.glob("*.cpp"))]
        about = repr((self.source.name, texts, FLAGS, compiler, processor())).encode()
        return cache_folder() / f"{self.source.stem}-{hashlib.sha256(about).hexdigest()[:16]}.so"


def _refuse(why: bytes | None, function: Any, arguments: tuple[Any, ...]) -> None:
    if why is not None:
        raise ValueError(f"{function.__name__} in C++ refuses its arguments: {why.decode()}.")


def integers(values: Sequence[int]) -> ctypes.Array[ctypes.c_int]:
    return (ctypes.c_int * len(values))(*values)


@cache
def processor() -> str:
    """What instructions this machine has."""
    cpu = Path("/proc/cpuinfo")
    lines = cpu.read_text().splitlines() if cpu.exists() else []
    return " ".join([platform.machine(), *[line for line in lines if line.startswith("flags")][:1]])
