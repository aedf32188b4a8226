"""Element-wise ATen operations as JavaScript expressions: one line, one operation."""

from __future__ import annotations

import math
from typing import Any

import torch

# one element from others; {0}, {1}, ... are the operands
_TEMPLATES = {
    "abs": "Math.abs({0})",
    "add": "({0}+{1})",
    "clamp_max": "Math.min({0},{1})",
    "clamp_min": "Math.max({0},{1})",
    "cos": "Math.cos({0})",
    "div": "({0}/{1})",
    "eq": "+({0}==={1})",
    "exp": "Math.exp({0})",
    "ge": "+({0}>={1})",
    "gt": "+({0}>{1})",
    "le": "+({0}<={1})",
    # torch's own two branches: each is exact at its end
    "lerp": "({2}<0.5?{0}+{2}*({1}-{0}):{1}-({1}-{0})*(1-{2}))",
    "log": "Math.log({0})",
    "logical_not": "+!{0}",
    "lt": "+({0}<{1})",
    "maximum": "Math.max({0},{1})",
    "minimum": "Math.min({0},{1})",
    "mul": "({0}*{1})",
    "ne": "+({0}!=={1})",
    "neg": "(-{0})",
    "pow": "Math.pow({0},{1})",
    "reciprocal": "(1/{0})",
    "relu": "({0}<=0?0:{0})",
    "remainder": "(({0}%{1}+{1})%{1})",
    "rsqrt": "(1/Math.sqrt({0}))",
    "rsub": "({1}-{0})",
    "sigmoid": "(1/(1+Math.exp(-{0})))",
    "sign": "Math.sign({0})",
    "sin": "Math.sin({0})",
    "sqrt": "Math.sqrt({0})",
    "sub": "({0}-{1})",
    "tanh": "Math.tanh({0})",
    "tanh_backward": "({0}*(1-{1}*{1}))",
    "threshold_backward": "({1}<={2}?0:{0})",
    "xlogy": "({1}!=={1}?NaN:{0}===0?0:{0}*Math.log({1}))",
    "where": "({0}?{1}:{2})",
}


def expression(kind: str, arguments: list[Any], keywords: dict[str, Any]) -> tuple[str, list[Any]] | None:
    """The template of an element-wise operation and its operands, or None for any other."""
    if kind in ("add", "sub") and keywords.get("alpha", 1) != 1:
        sign = "+" if kind == "add" else "-"
        return f"({{0}}{sign}{literal(keywords['alpha'])}*{{1}})", arguments[:2]
    if kind == "pow" and arguments[1] in (0.5, 2):
        return ("Math.sqrt({0})" if arguments[1] == 0.5 else "({0}*{1})"), [arguments[0]] * 2
    if kind == "addcmul":
        return f"({{0}}+{literal(keywords.get('value', 1))}*{{1}}*{{2}})", arguments
    if kind == "clamp":
        low, high = [*arguments, None, None][1:3]
        text = "{0}" if low is None else f"Math.max({{0}},{literal(low)})"
        return (text if high is None else f"Math.min({text},{literal(high)})"), arguments[:1]
    if kind == "nan_to_num":
        largest = torch.finfo(torch.float64).max
        given = zip([*arguments[1:], None, None, None], (0, largest, -largest), strict=False)
        nan, above, below = (literal(default if each is None else each) for each, default in given)
        return f"({{0}}!=={{0}}?{nan}:{{0}}===Infinity?{above}:{{0}}===-Infinity?{below}:{{0}})", arguments[
            :1
        ]
    if kind == "div" and keywords.get("rounding_mode") is not None:
        return f"Math.{keywords['rounding_mode']}({{0}}/{{1}})", arguments[:2]
    return (_TEMPLATES[kind], arguments) if kind in _TEMPLATES else None


def literal(number: float | bool) -> str:
    number = float(number)
    if number.is_integer() and 0 <= number < 1e15 and str(number) != "-0.0":
        return str(int(number))
    text = (
        "NaN"
        if math.isnan(number)
        else ("-" if number < 0 else "") + "Infinity"
        if math.isinf(number)
        else repr(number)
    )
    return f"({text})" if text.startswith("-") else text
