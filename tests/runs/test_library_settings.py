"""A run's number of threads holds for all libraries, while it runs."""

import numpy as np
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from ellm_agent.config import Config
from ellm_agent.experiment import library_settings


def blas_threads():
    assert np.dot(np.ones(2), np.ones(2)) == 2  # the library is loaded
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


def test_threads_of_a_run_are_those_of_pytorch_and_numpy():
    before = torch.get_num_threads()
    with threadpool_limits(2, user_api="blas"):
        with library_settings(Config()):
            assert (torch.get_num_threads(), blas_threads()) == (1, {1})
        assert (torch.get_num_threads(), blas_threads()) == (before, {2})
