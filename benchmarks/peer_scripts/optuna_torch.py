"""Optuna and PyTorch, a process on each core."""

import common
import torch_network

if __name__ == "__main__":
    common.search_with_optuna(torch_network.to_tensors, torch_network.train)
