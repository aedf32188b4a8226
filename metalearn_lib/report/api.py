"""The API reference: docstrings as pages of the book, without a request to anywhere.

Docstrings are plain text with code in backticks, equations indented, and keys of the bibliography in brackets; here
they become what Sphinx reads.
"""

from __future__ import annotations

import re
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, TypeVar

from docutils.nodes import Element
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.pycode import ModuleAnalyzer

PACKAGE = "metalearn_lib"


def setup(app: Sphinx) -> dict[str, Any]:
    app.setup_extension("sphinx.ext.autodoc")
    app.setup_extension("sphinx.ext.napoleon")
    app.connect("source-read", list_modules)
    app.connect("autodoc-process-signature", leave_out_factories)
    app.connect("autodoc-skip-member", skip_plain_fields)
    app.connect("autodoc-process-docstring", write_docstring, priority=100)  # before napoleon's
    app.connect("missing-reference", leave_outside_names)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def list_modules(app: Sphinx, page: str, source: list[str]) -> None:
    """Put what a module or a package holds in the place of a line `:::{modules} its name`, a heading to a module."""
    source[0] = re.sub(
        r"^:::\{modules\} (\S+)$",
        lambda line: "\n\n".join(map(_section, modules(line[1]))),
        source[0],
        flags=re.MULTILINE,
    )


def modules(name: str) -> list[str]:
    """A module, or a package with each module in it."""
    path = getattr(import_module(f"{PACKAGE}.{name}"), "__path__", [])
    return [name, *sorted(f"{name}.{each.name}" for each in iter_modules(path))]


def _section(module: str) -> str:
    level = "##" + "#" * module.count(".")
    return f"{level} `{module}`\n\n```{{eval-rst}}\n.. automodule:: {PACKAGE}.{module}\n```"


def leave_out_factories(
    app: Sphinx, kind: str, name: str, thing: object, options: Any, arguments: str | None, returns: str | None
) -> tuple[str | None, str | None]:
    """Make Python of the signature of a dataclass with a default that is made anew, which Sphinx can link then."""
    return arguments and arguments.replace("<factory>", "..."), returns


def skip_plain_fields(
    app: Sphinx, kind: str, name: str, thing: object, skip: bool, options: Any
) -> bool | None:
    """Leave out the fields of a NamedTuple that the class describes itself."""
    if not str(thing.__doc__).startswith("Alias for field number"):
        return None
    place = app.env.temp_data
    documented = ModuleAnalyzer.for_module(place["autodoc:module"]).attr_docs
    return (place["autodoc:class"], name) not in documented


def write_docstring(app: Sphinx, kind: str, name: str, thing: object, options: Any, lines: list[str]) -> None:
    """Make reStructuredText of a docstring."""
    lines[:] = as_rst("\n".join(lines)).split("\n")
    if kind in ("attribute", "data", "property"):
        lines.insert(0, "")  # napoleon takes what stands before a colon in the first line for a type


def as_rst(text: str) -> str:
    """A docstring with its equations as literal blocks, its code as code and its keys as citations.

    An equation is what stands further in than the line above the empty line before it.
    """
    written: list[str] = []
    level, equation = 0, None
    for line in text.split("\n"):
        depth = len(line) - len(line.lstrip())
        if equation is not None and (not line or depth >= equation):
            written.append(line)
            continue
        equation = None
        if line and written and not written[-1] and depth > level:
            written += [" " * level + ".. code-block:: none", ""]
            equation = depth
        elif line:
            level = depth
            line = _marked(line)
        written.append(line)
    return "\n".join(written)


def _marked(line: str) -> str:
    pieces = re.split(r"(`+[^`]+`+)", line)
    pieces[::2] = [re.sub(r"([*|])|(?<=\w)_(?!\w)", r"\\\g<0>", plain) for plain in pieces[::2]]
    # a role wants a space before it, and at the start of a line would be further in by one than the others
    spaced = re.sub(r"(?<=\S)(?=\[[a-z]+\d{4}[a-z]\w+\])", " ", "".join(pieces))
    return re.sub(r"\[([a-z]+\d{4}[a-z]\w+)\]", r":cite:`\1`", spaced)


def leave_outside_names(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, shown: Element
) -> Element | None:
    """Show a type of another package as text, since its documentation would have to be fetched, and a type variable."""
    module, _, name = str(node.get("reftarget")).rpartition(".")
    if node.get("refdomain") != "py" or (module.startswith(PACKAGE) and not _is_variable(module, name)):
        return None
    return shown


def _is_variable(module: str, name: str) -> bool:
    try:
        return isinstance(getattr(import_module(module), name, None), TypeVar)
    except ImportError:
        return False
