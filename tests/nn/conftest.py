"""Shared by the tests of networks."""

import pytest
import torch


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Threads cost more than they gain on a few hundred pairs."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
