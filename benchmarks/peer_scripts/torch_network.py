"""PyTorch as its best users write it: data as tensors, model kept, fused Adam, no `item` a step."""

import functools
from typing import Any

import common
import torch
from torch import nn


@functools.cache
def prepare() -> tuple[nn.Module, dict[str, torch.Tensor]]:
    """The notebook's network, and its weights as they begin."""
    torch.manual_seed(42)
    torch.set_num_threads(1)
    normalized = functools.partial(nn.BatchNorm1d, eps=1e-3, momentum=0.01)
    dense = [nn.Linear(784, 300), nn.Linear(300, 100), nn.Linear(100, 10)]
    for layer in dense:
        nn.init.zeros_(layer.bias)
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    nn.init.xavier_uniform_(dense[2].weight)
    model = nn.Sequential(
        *(normalized(784), dense[0], normalized(300), nn.ELU()),
        *(dense[1], nn.ELU(), normalized(100), dense[2]),
    )
    return model, {key: value.clone() for key, value in model.state_dict().items()}


def to_tensors(data: common.Arrays) -> dict[str, torch.Tensor]:
    """Flat images, scaled once, and labels as indices."""
    tensors = {key: torch.from_numpy(value) for key, value in data.items()}
    return {
        key: value.flatten(1).float() / 255 if key.endswith("images") else value.long()
        for key, value in tensors.items()
    }


def train(data: Any, batch: int, epochs: int, rate: float, decay: float) -> common.Curve:
    """Trains a trial; the rate falls once an epoch."""
    model, weights = prepare()
    model.load_state_dict(weights)
    optimizer = torch.optim.Adam(model.parameters(), rate, eps=1e-7, fused=True)
    images, labels = data["train_images"], data["train_labels"]
    for epoch in range(epochs):
        now = rate * 0.1 ** (epoch / decay)
        optimizer.param_groups[0]["lr"] = now
        model.train()
        total, right = torch.zeros(()), torch.zeros((), dtype=torch.long)
        for chosen in torch.randperm(len(images)).split(batch):
            targets = labels.index_select(0, chosen)
            logits = model(images.index_select(0, chosen))
            loss = nn.functional.cross_entropy(logits, targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.detach() * len(chosen)
            right += (logits.detach().argmax(1) == targets).sum()
        means = total.item() / len(images), right.item() / len(images)
        yield *means, *evaluate(model, data["val_images"], data["val_labels"]), now


@torch.inference_mode()
def evaluate(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> tuple[float, float]:
    """Mean loss and accuracy of all images at once."""
    model.eval()
    logits = model(images)
    right = (logits.argmax(1) == labels).float().mean().item()
    return nn.functional.cross_entropy(logits, labels).item(), right
