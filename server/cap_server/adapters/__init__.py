"""The ports' implementations. They know the domain and the outside, nothing of strategies or HTTP."""
