"""`python -m metalearn_lib evaluate`, run as a newcomer would, at tiny sizes."""

import pandas as pd
import pytest

from metalearn_lib import cli
from metalearn_lib.evaluate.contestants import LEARNED, rivals
from metalearn_lib.gradient_estimators import ESTIMATORS
from metalearn_lib.inputs import INPUTS
from metalearn_lib.shifts import SHIFTS
from metalearn_lib.tasks import TASKS

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
    first = table[table["method"] == "SGD"].iloc[0]
    told = printed[printed.index("tuned rates") :]
    assert f"{first['lr']:.3g} ({first['weight']:.0%})" in next(
        line for line in told.splitlines() if line.startswith("SGD ")
    )
    assert not any(line.startswith("Prodigy") for line in told.splitlines())
    counts = table.groupby(["method", "meta_seed", "choice"], observed=True).size()
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
        (["--rivals", "sgd,no_module:X"], "'no_module:X': the module 'no_module' cannot be imported"),
        (["--family", "moon"], "task family 'moon' is unknown; did you mean 'moons'?"),
        (["--family", "metalearn_lib.shifts.scale:Scale"], "is made from another family, as a shift is"),
        (["--instances", "0"], "count must be at least 1"),
        *(
            (["--delta", each], f"delta={float(each)} must lie between 0 and 1")
            for each in ("nan", "inf", "0", "1", "-0.1")
        ),
        (["--out", "found.svg"], "'found.svg' does not end in .parquet; name it e.g. found.parquet"),
        (["--out", ""], "'' does not end in .parquet"),
        (["--out", "/dev/full"], "'/dev/full' does not end in .parquet"),
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


def test_another_family_is_taken_as_it_is_or_shifted(tmp_path, capsys):
    for arguments, cell in ((["--severity", "2", "--shift", "scale"], "moons, scale 2"), ([], "moons")):
        out = tmp_path / f"{cell}.parquet"
        command = [*TINY, "--family", "moons", *arguments, "--rivals", "sgd", "--out", str(out)]
        assert cli.main(command) == 0
        assert f"{cell}: gradient evaluations to the threshold" in capsys.readouterr().out
        assert set(pd.read_parquet(out)["cell"]) == {cell}


def test_the_list_names_everything_that_has_a_name(capsys):
    assert cli.main(["evaluate", "--list"]) == 0
    printed = capsys.readouterr().out.split()
    assert {*SHIFTS, *TASKS, *rivals(), *LEARNED, *INPUTS, *ESTIMATORS} <= set(printed)
