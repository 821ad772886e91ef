# syntax=docker/dockerfile:1.7
# The gateway with what it runs: git and the go command, for the modules that GOPROXY sends `direct`.
#
#   docker build -t dipylon .
#   docker run -p 3000:3000 -v dipylon:/var/lib/dipylon dipylon

FROM rust:1.95.0-bookworm AS build
WORKDIR /src
COPY . .
# The caches stay with the builder, so that a change of ours does not compile every dependency again.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --locked --profile dist --package dipylon \
    && cp target/dist/dipylon /usr/local/bin/dipylon

FROM golang:1.26.8-bookworm AS go

FROM debian:12.11-slim
# git and ssh: `direct` asks the repositories themselves, as the go command does. The versions are
# those of the distribution's release, whose later numbers are security updates.
RUN apt-get update \
    && apt-get install -y --no-install-recommends \
        ca-certificates=20230311* \
        git=1:2.39.* \
        openssh-client=1:9.2* \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --user-group --create-home --home-dir /var/cache/dipylon \
        --shell /usr/sbin/nologin dipylon \
    && install -d -o dipylon -g dipylon /var/lib/dipylon
# The go command makes the zips of `direct` modules; without it only module proxies can be asked.
COPY --from=go /usr/local/go /usr/local/go
COPY --from=build /usr/local/bin/dipylon /usr/local/bin/dipylon
ENV PATH=/usr/local/go/bin:/usr/local/bin:/usr/bin:/bin \
    HOME=/var/cache/dipylon \
    GOTOOLCHAIN=local \
    GO_ENV=production \
    ATHENS_STORAGE_TYPE=disk \
    ATHENS_DISK_STORAGE_ROOT=/var/lib/dipylon
USER 10001:10001
# The go command keeps its caches at home; what must outlive the container is in the volume.
WORKDIR /var/cache/dipylon
VOLUME /var/lib/dipylon
EXPOSE 3000
HEALTHCHECK --interval=30s --timeout=6s --start-period=10s --retries=3 \
    CMD ["dipylon", "healthcheck"]
ENTRYPOINT ["dipylon"]
