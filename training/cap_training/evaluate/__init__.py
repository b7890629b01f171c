"""What a model is worth: through vLLM and the server, as users meet it."""
