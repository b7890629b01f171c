"""The critics: how a candidate is scored, from 0 to 1. `docs/critics.md` compares them."""

from cap_server.critics.contrastive import Contrastive
from cap_server.critics.generative import Generative
from cap_server.critics.likelihood import Likelihood
from cap_server.critics.reward_model import RewardModel

__all__ = ["Contrastive", "Generative", "Likelihood", "RewardModel"]
