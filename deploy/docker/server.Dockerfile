# The server. From the repository's root:
#   docker build -f deploy/docker/server.Dockerfile -t cap-server .
# The base is Debian itself: its Python gets Debian's security updates with every build.
ARG BASE=docker.io/library/debian:trixie-slim

FROM ${BASE} AS build
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends binutils ca-certificates python3 python3-venv
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY server server
COPY sandbox sandbox
COPY clients/python clients/python
COPY clients/web clients/web
# pip itself, the libraries' tests and debug symbols stay out. What is imported is compiled here,
# because the running container cannot write; the rest would only take space.
RUN python3 -m venv /opt/cap \
 && /opt/cap/bin/pip install --no-cache-dir --no-compile -c constraints.txt '.[postgres,traces]' \
 && /opt/cap/bin/pip uninstall -y pip setuptools \
 && find /opt/cap -type d \( -name tests -o -name test -o -name _tests -o -path '*/sqlalchemy/testing' \) -prune -exec rm -rf {} + \
 && find /opt/cap/lib -type f \( -name '*.pyi' -o -name '*.pyx' -o -name '*.pxd' -o -name '*.[ach]' \) -delete \
 && find /opt/cap/lib -name '*.so' -regex '.*/\(uvloop\|sqlalchemy\|aiohttp\|multidict\|frozenlist\|propcache\|yarl\|greenlet\|httptools\)/.*' -exec strip --strip-unneeded {} + \
 && /opt/cap/bin/cap --help > /dev/null \
 && /opt/cap/bin/python -c "import cap_sandbox.zygote, cap_server.app, cap_server.observing.otel, psycopg, uvicorn.lifespan.on, uvicorn.loops.uvloop, uvicorn.protocols.http.httptools_impl; from cap_sandbox.preload import warm_runner; warm_runner('light', policy=True); warm_runner('heavy', policy=True)"

FROM ${BASE}
LABEL org.opencontainers.image.title="CaP server" \
      org.opencontainers.image.description="Refines any model's chain of thought with programs." \
      org.opencontainers.image.licenses="Apache-2.0"
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates libseccomp2 python3 \
 && rm -rf /var/lib/apt/lists/* /var/cache/* /var/log/* \
 && install -d -o 65532 -g 65532 /var/lib/cap
COPY --from=build /opt/cap /opt/cap
# Every replica behind a load balancer is asked to end now and then; what it works on may go on.
ENV CAP_HOST=0.0.0.0 CAP_STATE_DIR=/var/lib/cap CAP_DRAIN_S=60 \
    PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 65532:65532
WORKDIR /var/lib/cap
VOLUME /var/lib/cap
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
  CMD ["/opt/cap/bin/python", "-c", "import os, urllib.request as u; u.urlopen('http://127.0.0.1:' + os.environ.get('CAP_PORT', '8000') + '/health', timeout=4)"]
ENTRYPOINT ["/opt/cap/bin/cap"]
CMD ["serve"]
