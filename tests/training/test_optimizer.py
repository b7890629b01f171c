"""Muon and AdamW as one."""

from __future__ import annotations

import torch

from cap_training.optimizer import MuonAdamW


def network() -> torch.nn.Module:
    torch.manual_seed(0)
    layers = {"embed_tokens": torch.nn.Embedding(8, 4), "inner": torch.nn.Linear(4, 4)}
    return torch.nn.ModuleDict(layers)


def step(model: torch.nn.Module, optimizer: MuonAdamW) -> None:
    hidden = model["embed_tokens"](torch.arange(8))  # type: ignore[index,unused-ignore]
    model["inner"](hidden).square().sum().backward()  # type: ignore[index,unused-ignore]
    optimizer.step()
    optimizer.zero_grad()


def weights(model: torch.nn.Module) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in model.parameters()]


def test_a_step_moves_every_parameter() -> None:
    model = network()
    optimizer = MuonAdamW(model, lr=0.1, weight_decay=0.0)
    before = weights(model)
    step(model, optimizer)
    assert all(not old.equal(new) for old, new in zip(before, weights(model), strict=True))


def test_a_schedule_reaches_both_even_after_a_checkpoint() -> None:
    model = network()
    optimizer = MuonAdamW(model, lr=0.1, weight_decay=0.0)
    step(model, optimizer)
    optimizer.load_state_dict(optimizer.state_dict())
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    before = weights(model)
    step(model, optimizer)
    assert all(old.equal(new) for old, new in zip(before, weights(model), strict=True))


def test_a_checkpoint_goes_on_as_if_nothing_had_happened() -> None:
    model, twin = network(), network()
    first, second = (MuonAdamW(each, lr=0.1, weight_decay=0.01) for each in (model, twin))
    step(model, first)
    step(twin, second)
    fresh = MuonAdamW(twin, lr=0.1, weight_decay=0.01)
    fresh.load_state_dict(second.state_dict())
    step(model, first)
    step(twin, fresh)
    for a, b in zip(weights(model), weights(twin), strict=True):
        assert torch.allclose(a, b)
