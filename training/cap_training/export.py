"""A folder that vLLM serves as it is: weights in bf16, tokenizer, chat template, generation config.

Written beside its place and moved there when it is whole, so that a folder that is there is whole.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig

from cap_training.models import dense

MAX_NEW_TOKENS = 256


def export(model: Any, tokenizer: Any, folder: Path, *, card: str = "") -> None:
    """Writes `model`, any adapter worked in, to `folder`; what was there is replaced."""
    unfinished = folder.with_name(folder.name + ".new")
    shutil.rmtree(unfinished, ignore_errors=True)
    whole = dense(model).to(torch.bfloat16)
    whole.generation_config = GenerationConfig(
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        max_new_tokens=MAX_NEW_TOKENS,
    )
    whole.config.use_cache = True  # trainers switch it off
    whole.save_pretrained(unfinished, safe_serialization=True)
    tokenizer.save_pretrained(unfinished)
    for weights in unfinished.glob("*.safetensors"):
        # They are written for their owner only, and an engine may run as somebody else.
        weights.chmod((unfinished / "config.json").stat().st_mode)
    if card:
        (unfinished / "README.md").write_text(card, encoding="utf-8")
    if folder.exists():
        shutil.rmtree(folder)
    unfinished.replace(folder)
