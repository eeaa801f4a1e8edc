# A package manager that changes its user, maintainer scripts, and a program that is setuid root.
ARG BASE=docker.io/library/debian:bookworm-slim
FROM ${BASE}
RUN apt-get update -q \
  && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends python3 sudo \
  && rm -rf /var/lib/apt/lists/* /var/cache/apt /var/log/* /var/cache/ldconfig/aux-cache
RUN python3 -I -c 'import sqlite3, ssl; print(ssl.OPENSSL_VERSION)' && sudo -n -u games id -un
