"""The code that an answer can depend on, followed from the objects in its question.

From each class and function that is met, the names in its text are followed to what they stand for, in its own module
and in those that it imports, through the package and through modules of the user's own. Nothing is written down by
hand, and it does not matter in which file a definition stands: moving one changes nothing.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import re
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import torch

from metalearn_lib.fingerprints import fingerprint, objects_of

_OUTSIDE = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})
_EFFECTS = "(what the module does when it is imported)"


class Definition(NamedTuple):
    """A name at the top of a module."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module.removeprefix('metalearn_lib.')}.{self.name}"


class Sources:
    """Follows definitions, and remembers what it has followed; make one for each look at the code.

    What is followed: names and attributes of modules in the text of a definition, but not those in annotations, which
    decide nothing; imports inside functions; files beside the module that are named in a text, as the C++ ones are; all
    that a `Registry` lists, if one is met. A class that is made by name from a text cannot be seen: questions hold
    objects.
    """

    def __init__(self) -> None:
        self._needs: dict[Definition, frozenset[Definition]] = {}
        self._digests: dict[Definition, str] = {}
        self._codes: dict[frozenset[Definition], dict[str, str]] = {}

    def code(self, *values: Any) -> dict[str, str]:
        """By name, the digest of every definition that `values`, and the calls of functions among them, can reach."""
        roots = frozenset(found for each in objects_of(values) for found in self._definition(each))
        if roots not in self._codes:
            reached: set[Definition] = set()
            left = list(roots)
            while left:
                if (definition := left.pop()) not in reached:
                    reached.add(definition)
                    left += self._needed(definition)
            told = {str(each): self._digests[each] for each in reached}
            self._codes[roots] = told | {"torch": ".".join(torch.__version__.split(".")[:2])}
        return self._codes[roots]

    def _definition(self, found: Any) -> Iterator[Definition]:
        """Of a class or function."""
        module, name = getattr(found, "__module__", None), getattr(found, "__qualname__", None)
        if module and name and is_ours(module):
            yield Definition(module, name.split(".")[0])

    def _needed(self, definition: Definition) -> frozenset[Definition]:
        if definition not in self._needs:
            module = _module(definition.module)
            if module is None:
                self._digests[definition], needs = self._live(definition)
            else:
                text, needs = module.digest(definition.name), module.needs(definition.name)
                self._digests[definition] = text
            self._needs[definition] = frozenset(needs)
        return self._needs[definition]

    def _live(self, definition: Definition) -> tuple[str, list[Definition]]:
        """Of a definition without a file, as one in a notebook: from the object itself."""
        space = vars(sys.modules[definition.module])
        found = space.get(definition.name)
        if not isinstance(found, type) and not inspect.isfunction(found):
            try:
                return fingerprint(found), [
                    each for one in objects_of(found) for each in self._definition(one)
                ]
            except TypeError:
                return type(found).__qualname__, []
        tree = ast.parse("\n".join(_texts(found)))
        needs = [
            Definition(definition.module, name)
            for name in _names(tree)
            if name in space and name != definition.name
        ]
        for name, attribute in _attributes(tree):
            if isinstance(module := space.get(name), ModuleType) and is_ours(module.__name__):
                needs.append(Definition(module.__name__, attribute))
        return _digest(tree), [each for one in needs for each in self._elsewhere(one, space)]

    def _elsewhere(self, definition: Definition, space: dict[str, Any]) -> Iterator[Definition]:
        found = space.get(definition.name)
        if isinstance(found, ModuleType) or definition.module not in (definition.module, *_own(found)):
            return
        yield from self._definition(found) if _own(found) else iter([definition])


def code_digest(code: Mapping[str, str]) -> str:
    """Sixteen hexadecimal digits of what `Sources.code` found; where its definitions stand does not count."""
    pairs = sorted((re.split(r"\.(?=\w+$|\w+\.cpp$)", name)[-1], digest) for name, digest in code.items())
    return hashlib.sha256(repr(pairs).encode()).hexdigest()[:16]


@cache
def is_ours(module: str) -> bool:
    """Whether a module is the package's or the user's own, and not Python's or an installed one."""
    if module == "__main__" or module.split(".")[0] == "metalearn_lib":
        return True
    origin = getattr(sys.modules.get(module), "__file__", None)
    if origin is None:
        try:
            spec = find_spec(module)
        except (ImportError, ValueError):
            return False
        origin = spec and spec.origin
    return bool(origin) and origin not in ("built-in", "frozen") and not str(origin).startswith(_OUTSIDE)


def _own(found: Any) -> tuple[str, ...]:
    """The module of a class or function; nothing for any other value."""
    return (found.__module__,) if isinstance(found, type) or inspect.isfunction(found) else ()


def _module(name: str) -> _Module | None:
    """A module's text, where it has one."""
    spec = getattr(sys.modules.get(name), "__spec__", None) if name in sys.modules else find_spec(name)
    path = getattr(sys.modules.get(name), "__file__", None) or (spec and spec.origin)
    if name == "__main__" or not path or not Path(path).is_file():
        return None
    facts = Path(path).stat()
    return _read(name, Path(path), facts.st_mtime_ns, facts.st_size)


@lru_cache(maxsize=512)
def _read(name: str, path: Path, *_: int) -> _Module:
    return _Module(name, path)


class _Module:
    """What stands at the top of one module."""

    def __init__(self, name: str, path: Path) -> None:
        self.name, self.path = name, path
        self.package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        self.statements: dict[str, list[ast.stmt]] = {}
        self.imports: dict[str, Definition] = {}
        self._sort(ast.parse(path.read_text(encoding="utf-8")).body)

    def digest(self, name: str) -> str:
        if (self.path.parent / name).is_file():
            return _file_digest(self.path.parent / name)[:8]
        return fingerprint([_digest(each) for each in self.statements.get(name, [])])[:8]

    def needs(self, name: str) -> list[Definition]:
        if name not in self.statements:
            return self._of_whole() if name == "*" else []
        found: list[Definition] = []
        if _EFFECTS in self.statements and name != _EFFECTS:
            found.append(Definition(self.name, _EFFECTS))
        for statement in self.statements[name]:
            inside = {key: target for node in ast.walk(statement) for key, target in self._imported(node)}
            known = self.imports | inside
            attributes = list(_attributes(statement))
            for used in _names(statement):
                if used in known:
                    found += self._target(
                        known[used], [attribute for base, attribute in attributes if base == used]
                    )
                elif used in self.statements and used != name:
                    found.append(Definition(self.name, used))
            found += self._registered(statement)
            found += [Definition(self.name, path.name) for path in self._files(statement)]
        return [each for each in found if is_ours(each.module)]

    def _of_whole(self) -> list[Definition]:
        return [Definition(self.name, each) for each in self.statements]

    def _target(self, target: Definition, attributes: list[str]) -> list[Definition]:
        """What an imported name stands for, and which of a module's names are used."""
        if not is_ours(target.module):
            return []
        if target.name:
            inside = f"{target.module}.{target.name}"
            module = _module(target.module)
            if module is not None and target.name in module.imports:
                return module._target(module.imports[target.name], attributes)
            if module is not None and target.name in module.statements:
                return [target]
            if not _exists(inside):
                return [target]
            target = Definition(inside, "")
        module = _module(target.module)
        if module is None:
            return []
        reached: list[Definition] = []
        for attribute in attributes or ["*"]:
            if attribute in module.imports:
                reached += module._target(module.imports[attribute], [])
            elif attribute in module.statements:
                reached.append(Definition(target.module, attribute))
            elif attribute == "*":
                reached += module._of_whole()
        return reached

    def _registered(self, statement: ast.stmt) -> list[Definition]:
        """All that a registry lists."""
        value = getattr(statement, "value", None)
        if not (isinstance(value, ast.Call) and getattr(value.func, "id", "") == "Registry"):
            return []
        *_, modules = (ast.literal_eval(each) for each in value.args)
        found = [_module(f"{self.name}.{each}") for each in modules.split()]
        return [each for module in found if module for each in module._of_whole()]

    def _sort(self, body: Iterable[ast.stmt]) -> None:
        for node in body:
            imported = list(self._imported(node))
            self.imports |= dict(imported)
            if imported or _is_text(node):
                continue
            if isinstance(node, (ast.If, ast.Try, ast.With)):
                if "TYPE_CHECKING" not in ast.dump(getattr(node, "test", node)) or not isinstance(
                    node, ast.If
                ):
                    for part in ("body", "handlers", "orelse", "finalbody"):
                        inner = getattr(node, part, [])
                        self._sort(
                            each
                            for one in inner
                            for each in (one.body if isinstance(one, ast.ExceptHandler) else [one])
                        )
                continue
            for name in _bound(node) or [_EFFECTS]:
                self.statements.setdefault(name, []).append(node)

    def _imported(self, node: ast.AST) -> Iterator[tuple[str, Definition]]:
        if isinstance(node, ast.Import):
            for each in node.names:
                yield (
                    each.asname or each.name.split(".")[0],
                    Definition(each.name if each.asname else each.name.split(".")[0], ""),
                )
        elif isinstance(node, ast.ImportFrom):
            parent = (
                self.package.split(".")[: len(self.package.split(".")) - node.level + 1] if node.level else []
            )
            module = ".".join([*parent, *([node.module] if node.module else [])])
            for each in node.names:
                yield each.asname or each.name, Definition(module, each.name)

    def _files(self, statement: ast.stmt) -> list[Path]:
        """Files beside the module that a text names, and those that they include."""
        texts = [node.value for node in _walk(statement) if isinstance(node, ast.Constant)]
        names = [text for text in texts if isinstance(text, str) and re.fullmatch(r"[\w-]+\.\w+", text)]
        files = [path for path in map(self.path.with_name, names) if path.is_file() and path != self.path]
        for path in files:
            included = re.findall(r'#include "([\w.]+)"', path.read_text(encoding="utf-8", errors="replace"))
            files += [path.with_name(name) for name in included if path.with_name(name) not in files]
        return files


def _exists(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _bound(node: ast.stmt) -> list[str]:
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return [node.name]
    if not isinstance(node, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
        return []
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return [each.id for target in targets for each in ast.walk(target) if isinstance(each, ast.Name)]


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _children(node: ast.AST) -> Iterator[tuple[str, Any]]:
    """Fields of a node, without what decides nothing: docstrings, annotations of functions, types."""
    for name, value in ast.iter_fields(node):
        if name in ("returns", "type_comment", "kind", "type_params", "ctx") or value is None or value == []:
            continue
        if name == "annotation" and isinstance(node, ast.arg):
            continue
        if isinstance(value, list):
            value = [each for each in value if not _is_text(each)]
        yield name, value


def _walk(node: ast.AST, annotations: bool = False) -> Iterator[ast.AST]:
    yield node
    for name, value in _children(node):
        if name == "annotation" and not annotations:
            continue
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, ast.AST):
                yield from _walk(each, annotations)


def _names(tree: ast.AST) -> list[str]:
    return list(dict.fromkeys(node.id for node in _walk(tree) if isinstance(node, ast.Name)))


def _attributes(tree: ast.AST) -> Iterator[tuple[str, str]]:
    for node in _walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield node.value.id, node.attr


def _dump(value: Any) -> str:
    """A node in a form that no version of Python writes differently."""
    if isinstance(value, ast.AST):
        return f"{type(value).__name__}({','.join(f'{name}={_dump(child)}' for name, child in _children(value))})"
    if isinstance(value, list):
        return f"[{','.join(map(_dump, value))}]"
    return repr(value)


def _digest(tree: ast.AST) -> str:
    return hashlib.sha256(_dump(tree).encode()).hexdigest()


def _file_digest(path: Path) -> str:
    text = path.read_bytes()
    if path.suffix in (".cpp", ".h"):
        text = b" ".join(re.sub(rb"//.*", b"", text).split())
    return hashlib.sha256(text).hexdigest()


def _texts(found: Any) -> list[str]:
    """The text of a class or function, and of a class whose own cannot be had that of its functions."""
    try:
        return [inspect.cleandoc("\n" + inspect.getsource(found))]
    except (OSError, TypeError):
        inside = (
            [each for each in vars(found).values() if inspect.isfunction(each)]
            if isinstance(found, type)
            else []
        )
        return [text for each in inside for text in _texts(each)]
