# pip without an index: a build backend makes a wheel as a user, and a console script is executed.
ARG BASE=docker.io/library/debian:bookworm-slim
FROM ${BASE} AS build
RUN apt-get update -q \
  && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends \
    python3 python3-setuptools python3-venv python3-wheel
RUN useradd --create-home app
USER app
WORKDIR /home/app/pad
COPY <<END pyproject.toml
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "pad"
version = "1.0"
scripts = {pad = "pad:main"}
END
COPY <<END pad.py
def main():
    print("right".rjust(9))
END
# Without byte code, which holds times.
ENV PYTHONDONTWRITEBYTECODE=1 PIP_NO_INDEX=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python3 -m venv --system-site-packages ../tools \
  && python3 -c 'from setuptools import build_meta; build_meta.build_sdist("../dist")' \
  && ../tools/bin/pip wheel --no-build-isolation --wheel-dir ../wheels ../dist/pad-1.0.tar.gz
RUN python3 -m venv --without-pip ../site \
  && ../tools/bin/pip --python ../site/bin/python install --no-compile --find-links ../wheels pad \
  && ../site/bin/pad
FROM scratch
COPY --from=build /home/app/site /home/app/site
