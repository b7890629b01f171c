"""Models to train: a small Llama made from nothing, or one from a folder, with LoRA where asked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from cap_training.failures import RunError


@dataclass(frozen=True)
class Shape:
    """A small Llama.

    Attributes:
        width: of the hidden states; a multiple of `head`.
        mlp: width of the feed-forward layers.
        vocabulary: at most so many tokens.
        context: the longest sequence.
    """

    layers: int = 4
    width: int = 256
    mlp: int = 640
    head: int = 32
    vocabulary: int = 4096
    context: int = 1024


def make(shape: Shape, tokenizer: Any) -> Any:
    """A model with random weights for `tokenizer`."""
    heads = shape.width // shape.head
    config = LlamaConfig(
        vocab_size=-(-len(tokenizer) // 64) * 64,
        hidden_size=shape.width,
        intermediate_size=shape.mlp,
        num_hidden_layers=shape.layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        head_dim=shape.head,
        max_position_embeddings=shape.context,
        rms_norm_eps=1e-5,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        attn_implementation=attention(),
    )
    return LlamaForCausalLM(config)


def load(folder: Path | str, *, frozen: bool = False) -> tuple[Any, Any]:
    """A model and its tokenizer, from files on this machine.

    Args:
        folder: as `save_pretrained` wrote it.
        frozen: its weights will stay as they are: they are kept in bf16, which halves their memory.

    Raises:
        RunError: there is no model.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
        model = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=torch.bfloat16 if frozen else torch.float32,
            attn_implementation=attention(),
            use_safetensors=True,
            trust_remote_code=False,
        )
    except (OSError, ValueError) as error:
        raise RunError(f"{folder} holds no model that can be used: {error}") from error
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return model, tokenizer


def attention() -> str:
    """The implementation of attention that is fastest here.

    For short rows on a CPU plain matrix products take a third of the time of torch's fused kernel,
    whose backward pass is slow there.
    """
    return "sdpa" if torch.cuda.is_available() else "eager"


def adapter(rank: int) -> LoraConfig | None:
    """LoRA on every linear layer; none for rank 0."""
    if rank == 0:
        return None
    return LoraConfig(
        r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules="all-linear",
        task_type="CAUSAL_LM",
    )  # fmt: skip


def causal(model: Any) -> Any:
    """The causal model itself, without its adapter's wrapping."""
    return model.get_base_model() if isinstance(model, PeftModel) else model


def dense(model: Any) -> Any:
    """The model with its adapter, if it has one, worked into the weights."""
    return model.merge_and_unload() if isinstance(model, PeftModel) else model


def parameters(model: Any) -> int:
    """How many numbers the model has; tied ones count once."""
    return sum(parameter.numel() for parameter in model.parameters())
