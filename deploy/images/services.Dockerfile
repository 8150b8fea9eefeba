# llm-api, router, bert-worker and cpu-worker: a target each. Built from the root of the checkout by `make images`.
#
# BASE_IMAGE is a Debian 12 with Python 3.11 or newer: a mirror in an air-gapped network, or the base that
# deploy/images/base.sh makes from Debian's packages. Name its digest too (sha256:…): tags move.
ARG BASE_IMAGE=docker.io/library/python:3.11-slim-bookworm
ARG BASE_DIGEST

# An environment per extra, each from its own lock. pip works from outside, so none is left in it.
FROM ${BASE_IMAGE}${BASE_DIGEST:+@$BASE_DIGEST} AS build
ARG PIP_INDEX_URL
ARG PIP_CERT
WORKDIR /build
COPY scripts/setup scripts/setup
COPY requirements requirements

FROM build AS packages-core
RUN python3 -m scripts.setup.image packages core /opt/headrace \
    && python3 -m scripts.setup.image packages otel /opt/headrace
FROM packages-core AS core
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN python3 -m scripts.setup.image headrace /opt/headrace

FROM build AS packages-bert
RUN python3 -m scripts.setup.image packages bert /opt/headrace
FROM packages-bert AS bert
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN python3 -m scripts.setup.image headrace /opt/headrace

FROM build AS packages-cpu
RUN python3 -m scripts.setup.image packages cpu /opt/headrace
FROM packages-cpu AS cpu
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN python3 -m scripts.setup.image headrace /opt/headrace

# Any user may run it: HOME and state are places to mount, and nothing else is written.
FROM ${BASE_IMAGE}${BASE_DIGEST:+@$BASE_DIGEST} AS service
RUN useradd --uid 10001 --user-group --no-log-init --create-home --home-dir /var/lib/headrace headrace
ENV PATH=/opt/headrace/bin:$PATH \
    HOME=/tmp \
    HEADRACE_HOME=/var/lib/headrace \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
WORKDIR /var/lib/headrace
USER 10001:10001

FROM service AS llm-api
COPY --from=core /opt/headrace /opt/headrace
EXPOSE 8000 9100
ENTRYPOINT ["/opt/headrace/bin/headrace", "api"]

FROM service AS router
COPY --from=core /opt/headrace /opt/headrace
EXPOSE 8001 9101
ENTRYPOINT ["/opt/headrace/bin/headrace", "router"]

FROM service AS bert-worker
COPY --from=bert /opt/headrace /opt/headrace
EXPOSE 8010 9110
ENTRYPOINT ["/opt/headrace/bin/headrace", "worker", "bert"]

FROM service AS cpu-worker
COPY --from=cpu /opt/headrace /opt/headrace
EXPOSE 8040 9140
ENTRYPOINT ["/opt/headrace/bin/headrace", "worker", "cpu"]
