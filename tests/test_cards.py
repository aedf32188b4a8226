"""A rule's file holds what was written, or is refused by name."""

import contextlib
import json

import pytest
import torch
from safetensors.torch import save_file

from metalearn_lib.cards import load_theta, load_thetas, save_theta

CARD = {"config": {"hidden": 16, "inputs": ["log_lr"]}, "validation_loss": {"0": 0.5}}


def test_a_byte_that_was_changed_is_seen_wherever_it_lies(tmp_path):
    path, theta = tmp_path / "rule.safetensors", torch.arange(5.0)
    save_theta(path, theta, CARD, torch.stack([theta, 2 * theta]))
    whole, card = path.read_bytes(), load_theta(path)[1]
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 16]) + whole[place + 1 :])
        with contextlib.suppress(ValueError):  # or it is as if nothing had been changed
            found, thetas = load_theta(path), load_thetas(path)[0]
            assert torch.equal(found[0], theta), place
            assert torch.equal(thetas[1], 2 * theta), place
            assert found[1] == card, place
    path.write_bytes(whole.replace(b"0.5", b"0.6"))
    with pytest.raises(ValueError, match="it does not hold what was written"):
        load_theta(path)


@pytest.mark.parametrize("card", ["[1]", "7", '"text"', "{}x", '{"config": [1]}'])
def test_a_card_that_is_none_is_refused(card, tmp_path):
    path = tmp_path / "rule.safetensors"
    save_file({"theta": torch.zeros(3)}, path, {"card": card})
    with pytest.raises(ValueError, match="is no trained meta-optimizer, or is damaged"):
        load_theta(path)


def test_a_file_from_before_files_held_digests_is_read(tmp_path):
    path = tmp_path / "rule.safetensors"
    save_file({"theta": torch.ones(3)}, path, {"card": json.dumps(CARD)})
    assert torch.equal(load_theta(path)[0], torch.ones(3))
