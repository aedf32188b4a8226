"""`python -m metalearn_lib evaluate`, run as a newcomer would, at tiny sizes."""

import pandas as pd
import pytest

from metalearn_lib import cli

TINY = ["evaluate", "--instances", "2", "--tuning", "2", "--workers", "1"]


def test_the_command_prints_a_line_for_each_rival_and_writes_every_run_and_a_figure(tmp_path, capsys):
    out = tmp_path / "found.parquet"
    command = [
        *TINY,
        "--shift",
        "scale",
        "--severity",
        "2",
        "--rivals",
        "sgd@B,adam,prodigy,meta",
        "--out",
        str(out),
    ]
    assert cli.main(command) == 0
    printed = capsys.readouterr().out
    table = pd.read_parquet(out)
    methods = ["SGD", "SGD re-tuned on B", "Adam", "Prodigy", "meta-optimizer"]
    assert list(dict.fromkeys(table["method"])) == methods
    assert all(f"\n{method} " in printed for method in methods)
    assert set(table["cell"]) == {"scale 2"}
    counts = table.groupby(["method", "meta_seed"], observed=True).size()
    assert set(counts) == {2}
    assert "<svg" in out.with_suffix(".svg").read_text()

    before = out.read_bytes(), out.with_suffix(".svg").read_bytes()
    assert cli.main(command) == 0
    assert (out.read_bytes(), out.with_suffix(".svg").read_bytes()) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--shift", "shrink"], "shift 'shrink' is unknown; use one of translate, scale"),
        (["--severity", "-1"], "severity=-1.0 is out of range for the shift 'scale'"),
        (["--rivals", "sgd,nobody"], "rival 'nobody' is unknown; use one of sgd"),
        (["--instances", "0"], "count must be at least 1"),
    ],
)
def test_a_bad_wish_ends_with_one_sentence_and_status_2(tmp_path, capsys, arguments, message):
    assert cli.main([*TINY, "--out", str(tmp_path / "x.parquet"), *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_a_damaged_table_is_named_and_not_overwritten(tmp_path, capsys):
    out = tmp_path / "x.parquet"
    out.write_bytes(b"no table")
    assert cli.main([*TINY, "--out", str(out)]) == 1
    assert "is damaged" in capsys.readouterr().err
    assert out.read_bytes() == b"no table"


def test_the_list_names_every_shift_and_rival(capsys):
    assert cli.main(["evaluate", "--list"]) == 0
    printed = capsys.readouterr().out
    assert "translate" in printed
    assert "schedulefree" in printed
    assert "meta-adam" in printed
