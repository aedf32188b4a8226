import pytest
import torch

from metalearn_lib.cores import one_thread

TINY = torch.tensor(2.0**-130)
if not torch.set_flush_denormal(True):
    pytest.skip("this processor cannot round tiny numbers to 0", allow_module_level=True)
torch.set_flush_denormal(False)


def test_inside_there_is_one_thread_and_no_tiny_number_and_after_it_all_is_as_before():
    threads = torch.get_num_threads()
    with one_thread():
        assert torch.get_num_threads() == 1
        assert float(TINY * 1) == 0
        with one_thread():
            assert float(TINY * 1) == 0
        assert float(TINY * 1) == 0
    assert torch.get_num_threads() == threads
    assert float(TINY * 1) > 0


def test_an_error_leaves_it_as_it_was():
    with pytest.raises(RuntimeError, match="x"), one_thread():
        raise RuntimeError("x")
    assert float(TINY * 1) > 0
