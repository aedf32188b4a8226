"""Where a contest's rows are kept: one Parquet file, and while it runs a folder of parts, each whole or absent."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from metalearn_lib.files import atomic_path


class StoreError(RuntimeError):
    """A kept file is damaged or foreign."""


class Store:
    """Keeps what has been computed under a key that names all that made it, so that no part is computed twice.

    `facts` are what is prepared (thresholds, tuned rates), as JSON; `rows` are results. Parts lie in
    `<path>.parts/`, which may be deleted once `join` has written the table.

    Args:
        path: the Parquet file; None keeps everything in memory.

    Raises:
        StoreError: when a kept file cannot be read.
    """

    def __init__(self, path: str | os.PathLike[str] | None) -> None:
        self.path = None if path is None else Path(path)
        self._facts: dict[str, dict[str, Any]] = {}
        self._rows: dict[str, pa.Table] = {}
        if self.path is not None and self.path.exists():
            table = self._read(self.path)
            for key in table["key"].unique().to_pylist():
                self._rows[key] = table.filter(pc.field("key") == key)

    def facts(self, key: str) -> dict[str, Any] | None:
        """What was prepared under `key`, if it was."""
        part = self._part(key, "json")
        if key not in self._facts and part is not None and part.exists():
            try:
                self._facts[key] = json.loads(part.read_text(encoding="utf-8"))
            except ValueError as fault:
                raise _damaged(part, fault) from fault
        return self._facts.get(key)

    def keep_facts(self, key: str, facts: dict[str, Any]) -> None:
        self._facts[key] = facts
        if (part := self._part(key, "json")) is not None:
            with atomic_path(part) as partial:
                partial.write_text(json.dumps(facts), encoding="utf-8")

    def rows(self, key: str) -> pa.Table | None:
        """The rows under `key`, if they are there."""
        part = self._part(key, "parquet")
        if key not in self._rows and part is not None and part.exists():
            self._rows[key] = self._read(part)
        return self._rows.get(key)

    def keep_rows(self, key: str, rows: pa.Table) -> None:
        self._rows[key] = rows
        if (part := self._part(key, "parquet")) is not None:
            _write(part, rows)

    def join(self, keys: Iterable[str]) -> pa.Table:
        """The rows of `keys`, in that order, as one table, written to `path`; what is no longer asked for goes."""
        table = pa.concat_tables([self._rows[key] for key in keys]).combine_chunks()
        if self.path is not None and not (
            self.path.exists() and _keys(self._read(self.path)) == _keys(table)
        ):
            _write(self.path, table)
        return table

    def _part(self, key: str, ending: str) -> Path | None:
        return (
            None if self.path is None else self.path.with_name(f"{self.path.name}.parts") / f"{key}.{ending}"
        )

    @staticmethod
    def _read(path: Path) -> pa.Table:
        try:
            table = pq.read_table(path)
        except (pa.ArrowException, OSError) as fault:
            raise _damaged(path, fault) from fault
        if "key" not in table.column_names:
            raise StoreError(f"{path} is no table of results: it has no column 'key'; name another file.")
        return table


def _keys(table: pa.Table) -> list[str]:
    """What a table holds: a key names all that made its rows."""
    return table["key"].to_pylist()


def _write(path: Path, table: pa.Table) -> None:
    with atomic_path(path) as partial:
        pq.write_table(table, partial, compression="zstd")


def _damaged(path: Path, fault: Exception) -> StoreError:
    return StoreError(f"{path} is damaged ({fault}); delete it, and what it held is computed again.")
