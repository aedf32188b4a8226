"""Training that runs inside a page: printed from the library's own inner step, drawn by one front end."""

from metalearn_lib.web.explorer import ShiftExplorer

__all__ = ["ShiftExplorer"]
