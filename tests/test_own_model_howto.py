"""The loop that the page on one's own model shows, run as it stands there."""

import re
from pathlib import Path

import torch

PAGE = Path(__file__).parent.parent / "book" / "own_model_howto.md"


def test_the_plain_loop_of_the_page_runs_as_it_stands_and_goes_on_where_it_was_left(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    plain = PAGE.read_text(encoding="utf-8").partition("## Lightning")[0]
    first, resume = re.findall(r"```python\n(.*?)```", plain, re.DOTALL)
    names = {}
    exec(first, names)
    learned = names["learned"]
    assert [step.step for step in learned.history()] == list(range(1, 25))
    assert learned.factor != 1
    ended, factor = {name: each.clone() for name, each in names["model"].state_dict().items()}, learned.factor
    exec(first.partition("for epoch")[0], names)
    assert names["learned"].factor == 1
    exec(resume, names)
    assert names["learned"].factor == factor
    assert all(torch.equal(each, ended[name]) for name, each in names["model"].state_dict().items())
