# The sandbox alone: the package, its maths and h11; nothing of the server.
#   docker build -f deploy/docker/sandbox.Dockerfile -t cap-sandbox .
ARG BASE=docker.io/library/debian:trixie-slim

FROM ${BASE} AS build
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates python3 python3-venv
WORKDIR /src
COPY pyproject.toml constraints.txt ./
COPY sandbox sandbox
# What is imported is compiled here, because the running container cannot write.
RUN python3 -c "import tomllib; print('\n'.join(tomllib.load(open('pyproject.toml', 'rb'))['project']['optional-dependencies']['sandbox']))" > requirements.txt \
 && python3 -m venv /opt/cap \
 && /opt/cap/bin/pip install --no-cache-dir --no-compile -c constraints.txt -r requirements.txt \
 && /opt/cap/bin/pip uninstall -y pip setuptools \
 && cp -r sandbox/cap_sandbox /opt/cap/lib/python3.*/site-packages/ \
 && find /opt/cap -type d \( -name tests -o -name test -o -name _tests \) -prune -exec rm -rf {} + \
 && find /opt/cap/lib -type f \( -name '*.pyi' -o -name '*.pyx' -o -name '*.h' -o -name '*.a' \) -delete \
 && /opt/cap/bin/python -P -c "import cap_sandbox.service, cap_sandbox.zygote; from cap_sandbox.preload import warm_runner; warm_runner('light', policy=True); warm_runner('heavy', policy=True)"

FROM ${BASE}
LABEL org.opencontainers.image.title="CaP sandbox" \
      org.opencontainers.image.description="Runs untrusted Python programs, one process each." \
      org.opencontainers.image.licenses="Apache-2.0"
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends libseccomp2 python3 \
 && rm -rf /var/lib/apt/lists/* /var/cache/* /var/log/*
COPY --from=build /opt/cap /opt/cap
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 65532:65532
WORKDIR /
EXPOSE 8002
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=8s --start-period=20s --retries=3 \
  CMD ["/opt/cap/bin/python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8002/health', timeout=4)"]
ENTRYPOINT ["/opt/cap/bin/python", "-P", "-m", "cap_sandbox.service"]
CMD ["serve", "--bind", "0.0.0.0:8002"]
