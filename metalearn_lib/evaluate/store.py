"""Where answers are kept: tables of rows that only grow, and a folder of parts, each whole or absent."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from metalearn_lib.files import atomic_path, cache_folder, read_parquet, write_parquet
from metalearn_lib.fused.learner import LOSS_AND_GRAD

if TYPE_CHECKING:
    from metalearn_lib.evaluate.preparations import Preparations

_TEXT = pa.dictionary(pa.int16(), pa.string())
COLUMNS: dict[str, tuple[pa.DataType, str]] = {
    "cell": (_TEXT, "name of the cell"),
    "method": (_TEXT, "name of the method"),
    "meta_seed": (pa.int16(), "number of the meta-seed, -1 for a method that has none"),
    "choice": (pa.int16(), "number of the choice, of those that tuning may have given; 0 is its winner"),
    "instance": (pa.int32(), "index of the scoring seed"),
    "steps": (pa.float32(), "gradient evaluations to the threshold, the cap where it was not crossed"),
    "epochs": (pa.float32(), "the same, in passes over the learner's training points"),
    "crossed": (
        pa.bool_(),
        "whether the held-out loss was below the threshold twice in a row before the cap",
    ),
    "finite": (pa.bool_(), "whether the loss stayed a number"),
    "cap": (pa.int32(), "gradient evaluations at which every method of the cell is censored"),
    "steps_per_epoch": (pa.float32(), "gradient evaluations in one pass over the training points"),
    "threshold": (pa.float32(), "held-out loss to reach, nats"),
    "reference_loss": (pa.float32(), "best held-out loss of the reference, nats"),
    "prior_loss": (pa.float32(), "held-out loss of the class-marginal predictor, nats"),
    "lr": (pa.float64(), "tuned rate, nan for a method without one"),
    "number": (pa.float64(), "the rule's further number, nan for a method without one"),
    "weight": (pa.float64(), "how likely tuning is to give this choice; of the choices they sum to 1"),
    "tuning_gradients": (pa.int64(), "minibatch gradients that tuning cost, for all cells that share it"),
    "tuning": (_TEXT, "what was tuned, and where; rows that share it share its choices"),
    "key": (_TEXT, "fingerprint of the question: cell, method, seeds, and what it was prepared from"),
    "code": (_TEXT, "digest of the code that the answer depends on"),
    "made": (
        _TEXT,
        "the machine's part in it: PyTorch, whether the gradient was the C++ function, the processor",
    ),
    "digest": (_TEXT, "of the numbers of these rows, so that a change to one of them is seen"),
}
"""What each column holds, and its type."""
UNITS = {name: told for name, (_, told) in COLUMNS.items()}
_DEFINITIONS = b"metalearn definitions"
_NUMBERS = [name for name, (kind, _) in COLUMNS.items() if kind != _TEXT]


class StoreError(RuntimeError):
    """A kept file is damaged or foreign."""


class Part(NamedTuple):
    """Where the rows of one key lie in a table, and what is said of all of them."""

    start: int
    stop: int
    key: str
    code: str
    digest: str
    names: tuple[str, str, int]
    """cell, method and meta-seed"""


class Table:
    """A table that is kept, read once.

    Raises:
        StoreError: when the file cannot be read, or is none of ours.
    """

    def __init__(self, path: Path) -> None:
        try:
            table = read_parquet(path) if path.exists() else empty()
        except (ValueError, OSError) as fault:
            raise _damaged(path, fault) from fault
        if missing := [name for name in COLUMNS if name not in table.column_names]:
            raise StoreError(
                f"{path} is no table of results: it has no column {missing[0]!r}; name another file."
            )
        self.path, self.schema = path, table.schema
        self.table = table.select(list(COLUMNS)).cast(empty().schema).unify_dictionaries()

    @cached_property
    def parts(self) -> dict[str, Part]:
        """By key."""
        told = (
            self.table.select(["key", "code", "digest", "cell", "method", "meta_seed"])
            .to_pandas()
            .astype(object)
        )
        keys = told["key"].tolist()
        starts = [row for row in range(len(keys)) if row == 0 or keys[row] != keys[row - 1]]
        heads = zip(
            starts, [*starts[1:], len(keys)][: len(starts)], told.iloc[starts].values.tolist(), strict=True
        )
        parts = {
            key: Part(start, stop, key, code, digest, (cell, method, meta_seed))
            for start, stop, (key, code, digest, cell, method, meta_seed) in heads
        }
        if len(parts) < len(starts):
            raise StoreError(
                f"{self.path} is damaged: rows of one key lie apart; take its last version again."
            )
        return parts

    @cached_property
    def definitions(self) -> dict[str, str]:
        """By name, the digests of the definitions that decide its rows, when it was last written."""
        return json.loads((self.schema.metadata or {}).get(_DEFINITIONS, b"{}"))

    def without(self, keys: Collection[str]) -> pa.Table:
        """The table without the rows of some keys."""
        rows = [self.rows(key) for key in self.parts if key not in keys]
        return with_definitions(pa.concat_tables(rows) if rows else empty(), self.definitions)

    def stamped(self, stamps: Mapping[str, tuple[str, str]], definitions: Mapping[str, str]) -> pa.Table:
        """The table with other keys and codes, by the present key; the numbers stay."""
        pairs = [stamps.get(part.key, (part.key, part.code)) for part in self.parts.values()]
        counts = [part.stop - part.start for part in self.parts.values()]
        table = self.table
        for name, values in zip(("key", "code"), zip(*pairs, strict=True), strict=True):
            column = pa.array(np.repeat(np.array(values, object), counts), _TEXT)
            table = table.set_column(table.column_names.index(name), empty().schema.field(name), column)
        return with_definitions(table, self.definitions | dict(definitions))

    def rows(self, key: str) -> pa.Table:
        """The rows of a key.

        Raises:
            StoreError: when they are not what was written.
        """
        part = self.parts[key]
        rows = self.table.slice(part.start, part.stop - part.start)
        if content_digest(rows) != part.digest:
            first = rows.slice(0, 1).to_pylist()[0]
            raise StoreError(
                f"{self.path}: the rows of {first['method']!r} in {first['cell']!r} are not what was written; take the "
                "file's last version again."
            )
        return rows


class Store:
    """Keeps what has been computed under the key of its question and the digest of its code.

    Args:
        path: a table that is kept; it is read, and only `merge` writes it. None is none.
        parts: a folder for new answers; None keeps them in memory.
        preparations: of kept tables; they are read, and only `merge` writes them.

    Raises:
        StoreError: when a kept file cannot be read.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        parts: str | os.PathLike[str] | None = None,
        preparations: Preparations | None = None,
    ):
        self.preparations = preparations
        self.path = None if path is None else Path(path)
        self.parts = None if parts is None else Path(parts)
        self.kept = None if self.path is None else Table(self.path)
        self._memory: dict[str, Any] = {}

    def facts(self, key: str, code: str) -> dict[str, Any] | None:
        """What was prepared, if it was."""
        name = _name(key, code, "json")
        if self.preparations is not None and (known := self.preparations.facts(key, code)) is not None:
            return known
        if name not in self._memory and (part := self._part(name)) is not None and part.exists():
            try:
                self._memory[name] = json.loads(part.read_text(encoding="utf-8"))
            except ValueError as fault:
                raise _damaged(part, fault) from fault
        return self._memory.get(name)

    def keep_facts(self, key: str, code: str, facts: Mapping[str, Any]) -> None:
        name = _name(key, code, "json")
        self._memory[name] = facts
        if (part := self._part(name)) is not None:
            with atomic_path(part) as partial:
                partial.write_text(json.dumps(facts), encoding="utf-8")

    def rows(self, key: str, code: str) -> pa.Table | None:
        """The rows of a key that this very code made, if they are there."""
        if self.kept is not None and key in self.kept.parts and self.kept.parts[key].code == code:
            return self.kept.rows(key)
        name = _name(key, code, "parquet")
        if name not in self._memory and (part := self._part(name)) is not None and part.exists():
            self._memory[name] = Table(part).rows(key)
        return self._memory.get(name)

    def keep_rows(self, key: str, code: str, rows: pa.Table) -> None:
        name = _name(key, code, "parquet")
        self._memory[name] = rows
        if (part := self._part(name)) is not None:
            write_parquet(part, rows)

    def merge(
        self,
        tables: Iterable[pa.Table],
        definitions: Mapping[str, str],
        prepared: Iterable[tuple[str, str]] = (),
    ) -> None:
        """Write `tables` into the kept table, each in the place of the rows of its key; all others stay.

        Args:
            definitions: digests of those that decide the rows.
            prepared: key and code of what they were prepared with, which is written where it is known.
        """
        if self.preparations is not None:
            facts = {key: (code, self.facts(key, code)) for key, code in prepared}
            self.preparations.merge(
                {key: (code, each) for key, (code, each) in facts.items() if each is not None}
            )
        assert self.path is not None
        new = {table["key"][0].as_py(): table for table in tables}
        now = Table(self.path)
        rows = [new.pop(key) if key in new else now.rows(key) for key in now.parts] + list(new.values())
        joined = pa.concat_tables(rows).unify_dictionaries().combine_chunks() if rows else empty()
        stamps = ["key", "code", "digest"]
        if not joined.select(stamps).equals(now.table.select(stamps).combine_chunks()):
            write_parquet(self.path, with_definitions(joined, now.definitions | dict(definitions)))
        self.kept = Table(self.path)

    def _part(self, name: str) -> Path | None:
        return None if self.parts is None else self.parts / name


def _name(key: str, code: str, kind: str) -> str:
    """Of a part; another for what plain PyTorch has made in the place of the C++ function, to other last digits."""
    made = "" if LOSS_AND_GRAD.function is not None else "-pytorch"
    return f"{key}-{code}{made}.{kind}"


def answers_folder() -> Path:
    """Where answers are kept that no table keeps: in the user's own cache, which may be deleted at any time."""
    return cache_folder() / "answers"


def results_folder() -> Path | None:
    """The folder of kept tables, `results/`, of the checkout that this folder is in, or else that the library is in."""
    here = Path.cwd()
    found = (folder / "results" for folder in (here, *here.parents, Path(__file__).parents[2]))
    return next((folder for folder in found if (folder / "contest.parquet").exists()), None)


def table_of(columns: Iterator[tuple[str, Any]], texts: Mapping[str, str]) -> pa.Table:
    """Rows from columns and from what is the same for all of them, with their digest."""
    values: dict[str, Any] = {**dict(columns), **texts, "digest": ""}
    count = len(values["steps"])

    def array(name: str, kind: pa.DataType) -> pa.Array:
        value = values[name]
        return pa.array(value if isinstance(value, np.ndarray) else [value] * count, kind)

    rows = pa.table({name: array(name, kind) for name, (kind, _) in COLUMNS.items()}, empty().schema)
    digest = pa.array([content_digest(rows)] * count, _TEXT)
    return rows.set_column(rows.column_names.index("digest"), empty().schema.field("digest"), digest)


def content_digest(rows: pa.Table) -> str:
    """Sixteen hexadecimal digits of what rows say, apart from the code that they were made by."""
    numbers = np.stack([rows[name].to_numpy().astype(np.float64) for name in _NUMBERS], 1)
    texts = [rows[name][0].as_py() for name in ("cell", "method")]
    return hashlib.sha256(repr(texts).encode() + numbers.tobytes()).hexdigest()[:16]


def with_definitions(table: pa.Table, definitions: Mapping[str, str]) -> pa.Table:
    """The table with the digests of the definitions that decide its rows."""
    return table.replace_schema_metadata({_DEFINITIONS: json.dumps(definitions, sort_keys=True)})


def empty() -> pa.Table:
    """A table without rows."""
    fields = [pa.field(name, kind, metadata={"unit": told}) for name, (kind, told) in COLUMNS.items()]
    return pa.schema(fields).empty_table()


def _damaged(path: Path, fault: Exception) -> StoreError:
    return StoreError(f"{path} is damaged ({fault}); delete it, and what it held is computed again.")
