"""What makes a built page self-contained: mathematics without a script, and the explorer inside the page."""

from __future__ import annotations

import base64
from typing import Any

from docutils import nodes
from docutils.parsers.rst import directives
from latex2mathml.converter import convert
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective


def write_math(translator: Any, node: nodes.math) -> None:
    """Write a formula as MathML, which every current browser draws by itself."""
    translator.body.append(convert(node.astext()))
    raise nodes.SkipNode


def write_equation(translator: Any, node: nodes.math_block) -> None:
    """Write a displayed formula, which scrolls by itself where it is wider than the screen."""
    translator.body.append(translator.starttag(node, "div", CLASS="math-block", tabindex="0"))
    translator.body.append(convert(node.astext(), display="block"))
    translator.body.append("</div>\n")
    raise nodes.SkipNode


class ShiftExplorerDirective(SphinxDirective):
    """`{shift-explorer}`: the explorer, training included, and on paper a picture of what it shows.

    Options are `ShiftExplorer`'s settings. One to a page: its address holds one set of settings.
    """

    option_spec = {  # noqa: RUF012
        "shift": directives.unchanged_required,
        "severity": float,
        "rate": float,
        "seed": directives.nonnegative_int,
        "rival": directives.unchanged_required,
        "data": directives.unchanged_required,
    }

    def run(self) -> list[nodes.Node]:
        from metalearn_lib import plots
        from metalearn_lib.web import ShiftExplorer  # imports torch

        if "shift-explorer" in self.env.temp_data:
            raise ExtensionError(
                f"{self.env.docname}: a page has room for one shift-explorer; remove the other"
            )
        self.env.temp_data["shift-explorer"] = True
        plots.use_style()
        explorer = ShiftExplorer(**self.options)
        picture = base64.b64encode(explorer.png()).decode()
        told = ", ".join(f"{name} {value}" for name, value in explorer.settings.items() if name != "points")
        alternative = f"Loss, learning rate, gradient norm and weight norm of both rules, drawn for {told}."
        image = f'<img class="explorer-picture" alt="{alternative}" src="data:image/png;base64,{picture}">'
        body = (
            f"{explorer.html()}{image}<noscript><style>.explorer-picture{{display:block}}</style></noscript>"
        )
        return [nodes.raw("", f'<div class="explorer full-width">{body}</div>', format="html")]
