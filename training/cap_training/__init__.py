"""Training a CaP model: data, fine-tuning, preference optimisation, evaluation.

In the repository and not in the wheel. Needs the extra `train`: `make setup-train`.
"""
