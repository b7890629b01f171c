# vLLM's own image, with a health check. The model is loaded from the network, once, into a volume.
ARG VLLM=docker.io/vllm/vllm-openai:v0.32.0
FROM ${VLLM}
LABEL org.opencontainers.image.title="CaP engine (GPU)"
ENV VLLM_NO_USAGE_STATS=1 DO_NOT_TRACK=1
EXPOSE 8001
HEALTHCHECK --interval=10s --timeout=5s --start-period=900s --retries=6 \
  CMD ["python3", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8001/health', timeout=4)"]
ENTRYPOINT ["python3", "-m", "vllm.entrypoints.openai.api_server"]
CMD ["--host", "0.0.0.0", "--port", "8001"]
