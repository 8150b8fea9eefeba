# trt-worker: NVIDIA's TensorRT-LLM image, and the supervisor beside it. Built from the root of the checkout.
#
# Headrace has an environment of its own in /opt/headrace and starts the engine by its absolute path; the engine's
# environment stays byte for byte what its makers tested.
ARG ENGINE_VERSION=1.2.1
ARG BASE_IMAGE=nvcr.io/nvidia/tensorrt-llm/release:${ENGINE_VERSION}
ARG BASE_DIGEST

FROM ${BASE_IMAGE}${BASE_DIGEST:+@$BASE_DIGEST} AS build
ARG PIP_INDEX_URL
ARG PIP_CERT
# This stage is thrown away; the image's own user comes below.
# hadolint ignore=DL3002
USER 0:0
WORKDIR /build
COPY scripts/setup scripts/setup
COPY requirements requirements
RUN python3 -m scripts.setup.image packages worker /opt/headrace
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN python3 -m scripts.setup.image headrace /opt/headrace

FROM ${BASE_IMAGE}${BASE_DIGEST:+@$BASE_DIGEST} AS trt-worker
ARG ENGINE_VERSION
# torch asks the system for the name of its user, so there is an entry for one; caches go where a volume is mounted.
USER 0:0
RUN useradd --uid 10001 --user-group --no-log-init --create-home --home-dir /var/lib/headrace headrace
COPY --from=build /opt/headrace /opt/headrace
ENV HOME=/var/lib/headrace \
    HEADRACE_HOME=/var/lib/headrace \
    XDG_CACHE_HOME=/var/lib/headrace/cache \
    HF_HUB_OFFLINE=1 \
    PYTHONUNBUFFERED=1
LABEL io.headrace.engine="tensorrt-llm" \
      io.headrace.engine.version="${ENGINE_VERSION}"
WORKDIR /var/lib/headrace
USER 10001:10001
EXPOSE 8030 9130
ENTRYPOINT ["/opt/headrace/bin/headrace", "worker", "trt"]
