# syntax=docker/dockerfile:1

FROM rust:1.95-slim-bookworm AS build
# SQLite and ring are compiled from C.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends gcc libc6-dev make \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY Cargo.toml Cargo.lock ./
COPY src src
COPY migrations migrations
# Benches are named in Cargo.toml, so cargo wants their files even where it does not build them.
COPY benches benches
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    cargo build --release --locked --bin ninefold \
 && cp target/release/ninefold /ninefold \
 && strip /ninefold

FROM debian:bookworm-slim
# Whom webhooks of the audit log must be certified by.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates \
 && rm -rf /var/lib/apt/lists/*
# Volumes and data are given to this user; a bind mount must be too.
RUN groupadd --gid 10001 ninefold \
 && useradd --uid 10001 --gid ninefold --home-dir /data --shell /usr/sbin/nologin ninefold \
 && install --directory --owner ninefold --group ninefold --mode 0700 /data
COPY --from=build /ninefold /usr/local/bin/ninefold
USER ninefold
ENV NINEFOLD_DATA=/data \
    NINEFOLD_LISTEN=0.0.0.0:9000
VOLUME /data
EXPOSE 9000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=10s --start-period=30s --retries=3 \
    CMD ["ninefold", "health", "--ready"]
ENTRYPOINT ["ninefold"]
CMD ["serve"]
