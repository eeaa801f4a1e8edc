# npm, which installs a package as a user who is not root.
ARG BASE=docker.io/library/debian:bookworm-slim
FROM ${BASE} AS build
RUN apt-get update -q \
  && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends nodejs npm
RUN useradd --create-home app
USER app
WORKDIR /home/app/pad
RUN npm init --yes && echo 'module.exports = text => text.padStart(9)' > index.js && npm pack
WORKDIR /home/app/site
RUN npm install --offline --no-audit --no-fund --no-update-notifier ../pad/pad-1.0.0.tgz \
  && node -e 'console.log(require("pad")("right"))'
FROM scratch
COPY --from=build --chown=1000:1000 /home/app/site/node_modules/pad /pad
