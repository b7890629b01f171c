"""CaP server: refines a model's chain of thought with programs."""

__version__ = "0.1.0"
