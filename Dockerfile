# syntax=docker/dockerfile:1
# One file for all services: `docker build --target ingest .`; targets: ingest, resolver, netsuite-writer, admin, tools.
# Every image is built from the same lock, runs as user 65532 and writes nothing but what docker-compose.yml and
# deploy/k8s mount: /tmp, and the writer's store. tests/integration/images executes this file without an engine.
ARG PYTHON=3.11-slim-bookworm

FROM python:${PYTHON} AS build
ARG UV_VERSION=0.13.9
ENV UV_PYTHON_DOWNLOADS=never UV_LINK_MODE=copy
RUN --mount=type=cache,target=/root/.cache/pip python -m pip install --quiet --root-user-action=ignore uv==${UV_VERSION}
WORKDIR /src
COPY pyproject.toml requirements.lock ./
COPY libs libs
COPY services services
RUN uv build --quiet --all-packages --wheel --out-dir /wheels
# What is not in the lock, or differs from its hash, is not installed; nothing is compiled from source.
RUN --mount=type=cache,target=/root/.cache/uv uv venv --quiet --python /usr/local/bin/python3 /opt/ml-connector \
 && uv pip install --quiet --python /opt/ml-connector --no-build --verify-hashes --compile-bytecode \
    --constraint requirements.lock /wheels/ml_connector_common-*.whl /wheels/ml_connector_ingest-*.whl \
    /wheels/ml_connector_resolver-*.whl /wheels/ml_connector_netsuite_writer-*.whl /wheels/ml_connector_admin-*.whl

FROM build AS build-tools
RUN --mount=type=cache,target=/root/.cache/uv uv pip install --quiet --python /opt/ml-connector --no-build \
    --verify-hashes --compile-bytecode --constraint requirements.lock \
    /wheels/ml_connector_sandbox-*.whl /wheels/ml_connector_cli-*.whl

FROM python:${PYTHON} AS base
ARG REVISION=unknown
LABEL org.opencontainers.image.title="ml-connector" \
      org.opencontainers.image.description="Keeps Oracle NetSuite in step with Pipedrive" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="${REVISION}"
# Nothing in here installs anything any more. The folders are what volumes are mounted on: they take their owner over.
RUN python -m pip uninstall --quiet --yes --root-user-action=ignore pip setuptools wheel \
 && cd /var/lib && install -d -o 65532 -g 65532 ml-connector ml-connector/store ml-connector/keys \
    ml-connector/keys/vault ml-connector/keys/admin ml-connector/keys/postgres ml-connector/keys/operator
ENV PATH=/opt/ml-connector/bin:/usr/local/bin:/usr/bin:/bin HOME=/tmp PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    MLC_HTTP_HOST=0.0.0.0 MLC_HTTP_PORT=8080 \
    MLC_STORE_DIR=/var/lib/ml-connector/store
USER 65532:65532
WORKDIR /tmp

FROM base AS services
COPY --from=build /opt/ml-connector /opt/ml-connector
EXPOSE 8080
# Asks the service itself whether it may be given work.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --start-interval=1s --retries=3 \
    CMD ["python", "-m", "ml_connector.common.probe"]

FROM services AS ingest
ENTRYPOINT ["python", "-m", "ml_connector.ingest"]

FROM services AS resolver
ENTRYPOINT ["python", "-m", "ml_connector.resolver"]

FROM services AS netsuite-writer
ENTRYPOINT ["python", "-m", "ml_connector.netsuite_writer"]

FROM services AS admin
ENTRYPOINT ["python", "-m", "ml_connector.admin"]

# mlc and the stand-ins; no service needs it.
FROM base AS tools
COPY --from=build-tools /opt/ml-connector /opt/ml-connector
ENTRYPOINT ["mlc"]
