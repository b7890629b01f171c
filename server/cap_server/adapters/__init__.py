"""The ports' implementations: they know the domain and the outside, nothing of strategies."""
