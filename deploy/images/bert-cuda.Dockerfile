# bert-worker for NVIDIA GPUs: torch from its own lock (its wheels bring CUDA's libraries; the driver is the node's).
# Built from the root of the checkout.
ARG BASE_IMAGE=docker.io/library/python:3.11-slim-bookworm
ARG BASE_DIGEST

FROM ${BASE_IMAGE}${BASE_DIGEST:+@$BASE_DIGEST} AS build
ARG PIP_INDEX_URL
ARG PIP_CERT
WORKDIR /build
COPY scripts/setup scripts/setup
COPY requirements requirements
RUN python3 -m scripts.setup.image packages bert-cuda /opt/headrace
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN python3 -m scripts.setup.image headrace /opt/headrace

FROM ${BASE_IMAGE}${BASE_DIGEST:+@$BASE_DIGEST} AS bert-worker-cuda
RUN useradd --uid 10001 --user-group --no-log-init --create-home --home-dir /var/lib/headrace headrace
COPY --from=build /opt/headrace /opt/headrace
ENV PATH=/opt/headrace/bin:$PATH \
    HOME=/var/lib/headrace \
    HEADRACE_HOME=/var/lib/headrace \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
WORKDIR /var/lib/headrace
USER 10001:10001
EXPOSE 8010 9110
ENTRYPOINT ["/opt/headrace/bin/headrace", "worker", "bert"]
