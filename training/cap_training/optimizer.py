"""Muon for the matrices inside the network, AdamW for the rest.

Source: Keller Jordan, https://kellerjordan.github.io/posts/muon/; update sizes are matched to
AdamW's (arXiv 2502.16982), so one learning rate serves both.
"""

from __future__ import annotations

from typing import Any

import torch

NAMES_FOR_ADAMW = ("embed_tokens", "lm_head")


class MuonAdamW(torch.optim.Optimizer):
    """Two optimizers that schedulers and checkpoints see as one."""

    def __init__(self, model: torch.nn.Module, *, lr: float, weight_decay: float) -> None:
        trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        matrices = [p for name, p in trained if _is_inner_matrix(name, p)]
        tables = [p for name, p in trained if not _is_inner_matrix(name, p) and p.ndim > 1]
        vectors = [p for _, p in trained if p.ndim < 2]
        groups = [
            {"params": tables, "weight_decay": weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ]
        self._muon = torch.optim.Muon(
            matrices, lr=lr, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"
        )
        self._adamw = torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.95))
        super().__init__(self._muon.param_groups + self._adamw.param_groups, {"lr": lr})
        self._share()

    def _share(self) -> None:
        """Makes this one's groups the two's own, so that a new learning rate reaches them."""
        self.param_groups = self._muon.param_groups + self._adamw.param_groups

    def step(self, closure: Any = None) -> Any:
        loss = self._muon.step(closure)
        self._adamw.step()
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:
        self._muon.zero_grad(set_to_none)
        self._adamw.zero_grad(set_to_none)

    def state_dict(self) -> dict[str, Any]:
        return {"muon": self._muon.state_dict(), "adamw": self._adamw.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._muon.load_state_dict(state_dict["muon"])
        self._adamw.load_state_dict(state_dict["adamw"])
        self._share()


def _is_inner_matrix(name: str, parameter: torch.nn.Parameter) -> bool:
    return parameter.ndim == 2 and not any(part in name for part in NAMES_FOR_ADAMW)
