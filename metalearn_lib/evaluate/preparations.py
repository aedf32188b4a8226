"""What contestants of kept tables were prepared with, in one file beside them: no reader tunes anything again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from metalearn_lib.evaluate.store import StoreError
from metalearn_lib.files import read_parquet, write_parquet

_COLUMNS = ("key", "code", "facts", "digest")


class Preparations:
    """Answers of questions for numbers, by key; each with the code that it depends on.

    Args:
        folder: of the tables; the file may not be there yet.

    Raises:
        StoreError: at the first look, when the file cannot be read or is not what was written.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "preparations.parquet"

    @cached_property
    def _kept(self) -> dict[str, tuple[str, str]]:
        if not self.path.exists():
            return {}
        try:
            rows = read_parquet(self.path).select(list(_COLUMNS)).to_pylist()
        except (ValueError, KeyError, OSError) as fault:
            raise StoreError(f"{self.path} is damaged ({fault}); take its last version again.") from fault
        for row in rows:
            if _digest(row["facts"]) != row["digest"]:
                raise StoreError(
                    f"{self.path}: what was prepared as {row['key']} is not what was written; take the file's last "
                    "version again."
                )
        return {row["key"]: (row["code"], row["facts"]) for row in rows}

    def __contains__(self, key: str) -> bool:
        return key in self._kept

    def facts(self, key: str, code: str) -> dict[str, Any] | None:
        """What this very code prepared, if it is there."""
        own, facts = self._kept.get(key, ("", ""))
        return json.loads(facts) if facts and own == code else None

    def merge(self, found: Mapping[str, tuple[str, Mapping[str, Any]]]) -> None:
        """Write answers, each with its code, in the place of those of the same key; all others stay."""
        self._write(self._kept | {key: (code, json.dumps(facts)) for key, (code, facts) in found.items()})

    def stamp(self, codes: Mapping[str, str]) -> None:
        """Give answers another code; what they say stays."""
        self._write({key: (codes.get(key, code), facts) for key, (code, facts) in self._kept.items()})

    def keep(self, keys: Collection[str]) -> int:
        """Drop all answers but these, and say how many that were."""
        left = {key: each for key, each in self._kept.items() if key in keys}
        dropped = len(self._kept) - len(left)
        self._write(left)
        return dropped

    def _write(self, kept: dict[str, tuple[str, str]]) -> None:
        if kept == self._kept:
            return
        rows = [(key, code, facts, _digest(facts)) for key, (code, facts) in sorted(kept.items())]
        table = [dict(zip(_COLUMNS, row, strict=True)) for row in rows]
        schema = pa.schema([(name, pa.string()) for name in _COLUMNS])
        write_parquet(self.path, pa.Table.from_pylist(table, schema))
        self._kept = kept


def _digest(facts: str) -> str:
    return hashlib.sha256(facts.encode()).hexdigest()[:16]
