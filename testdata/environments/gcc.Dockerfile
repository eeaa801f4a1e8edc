# A compiler, whose result goes into an image of its own.
ARG BASE=docker.io/library/debian:bookworm-slim
FROM ${BASE} AS build
RUN apt-get update -q \
  && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends gcc libc6-dev
RUN printf '#include <stdio.h>\nint main(void) { return puts("compiled") < 0; }\n' > /hello.c \
  && gcc -O2 -static -o /hello /hello.c
FROM scratch
COPY --from=build /hello /hello
ENTRYPOINT ["/hello"]
