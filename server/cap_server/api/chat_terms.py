"""Which model a chat completion asks for, and on which terms `cap` refines."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cap_server.api.chat_in import CapIn, ChatIn
from cap_server.errors import BadRequestError, ModelNotFoundError
from cap_server.strategies import STRATEGIES

CAP = "cap"

_APPROACHES = {
    "bon": "best_of_n",
    "self_consistency": "majority",
    "majority_voting": "majority",
}
_COUNTS = ("programs", "max_programs")


def cap_models() -> list[str]:
    """The names under which answers are refined."""
    return [CAP, *(f"{CAP}:{name}" for name in STRATEGIES)]


def is_cap(model: str) -> bool:
    return model == CAP or model.startswith(f"{CAP}:")


def terms_of(body: ChatIn) -> CapIn | None:
    """The terms that model, `cap`, `optillm_approach` and `budget` come to; None: do not refine.

    Raises:
        ModelNotFoundError: the model's suffix names no strategy.
        BadRequestError: they contradict each other, or leave a strategy's range.
    """
    cap = body.cap or CapIn()
    names = _named(body, cap)
    if len(set(names.values())) > 1:
        told = ", ".join(f"{where} asks for {name}" for where, name in names.items())
        raise BadRequestError(f"{told}: name one of them", param=list(names)[-1])
    name = next(iter(names.values()), None)
    if name == "none":
        return None
    if body.seed is not None and cap.sampling.seed is None:
        cap = cap.model_copy(
            update={"sampling": cap.sampling.model_copy(update={"seed": body.seed})}
        )
    if name is None and body.budget is not None:
        name = "majority"  # what its_hub spends a budget on
    strategy: Any = cap.strategy
    if name is not None and name != strategy.name:
        strategy = STRATEGIES[name]()
    if body.budget is not None:
        strategy = _with_budget(strategy, body.budget)
    return cap.model_copy(update={"strategy": strategy})


def _named(body: ChatIn, cap: CapIn) -> dict[str, str]:
    """The strategies that the request names, by the field that names them."""
    names = {}
    suffix = body.model.removeprefix(CAP).removeprefix(":")
    if body.model != CAP:
        if suffix not in STRATEGIES:
            raise ModelNotFoundError(
                f"There is no model {body.model[:80]!r}; a strategy is one of "
                f"{', '.join(STRATEGIES)}.",
                param="model",
            )
        names["model"] = suffix
    if "strategy" in cap.model_fields_set:
        names["cap.strategy"] = cap.strategy.name
    if body.optillm_approach is not None:
        names["optillm_approach"] = _APPROACHES.get(body.optillm_approach, "none")
    return names


def _with_budget(strategy: Any, budget: int) -> Any:  # noqa: ANN401  strategies have no base
    count = next((each for each in _COUNTS if hasattr(strategy, each)), None)
    if count is None:
        raise BadRequestError(
            f"budget: {strategy.name} draws no number of programs", param="budget"
        )
    return replace(strategy, **{count: budget})
