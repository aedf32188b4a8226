from hand_made import held

from metalearn_lib.studies.real_data import noisy_digits, times_and_failures

FEW = {"sgd": [40, 100], "adam": [20, 20], "meta": [[10, 10], [10, 100]], "meta-adam": [[20, 20]]}


def test_the_noisy_digits_are_the_digits_with_right_and_wrong_labels():
    cells = ("digits", "digits, label noise 0.4", "digits, natural split", "wine", "label noise 0.4")
    contest = held(dict.fromkeys(cells, FEW))
    found = noisy_digits(contest.results, contest.registration)
    assert list(found) == ["digits", "digits, label noise 0.4"]


def test_a_part_without_digits_shows_what_it_has():
    contest = held({"wine": FEW})
    assert noisy_digits(contest.results, contest.registration) == contest.results


def test_times_are_means_in_epochs_and_failures_shares_of_all_runs():
    contest = held({"wine": FEW})
    row = times_and_failures(contest, contest.results).loc["wine"]
    assert row[["cap", "SGD", "Adam", "meta"]].tolist() == [100, "17.5", "5.0", "8.1"]
    assert row[["SGD fails", "meta fails", "on Adam fails"]].tolist() == ["50 %", "25 %", "0 %"]
    assert row["meta on Adam over Adam"] == "1.00 [1.00, 1.00]"
