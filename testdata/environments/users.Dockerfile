# What a RUN asks of the users, devices and files of /proc that an environment gives it.
ARG BASE=docker.io/library/debian:bookworm-slim
FROM ${BASE}
RUN useradd --create-home app && install -o app -g app -m 4750 /bin/true /home/app/setuid
RUN <<END
#!/bin/bash
set -eu
cat <(echo "from a process substitution") > /made
test "$(nproc)" -ge 1
su app -c 'id -un > /home/app/name; mkdir /home/app/own; ln -s name /home/app/link'
test "$(stat -c %U /home/app/name)" = app
chgrp -R staff /srv && chmod g+s /srv && touch /srv/file && test "$(stat -c %G /srv/file)" = staff
mkfifo /srv/pipe && ln /made /srv/hard && touch -d 2001-02-03T04:05:06Z /srv/hard
test -c /dev/null && head -c 3 /dev/zero > /srv/zeros && echo lost > /dev/shm/file
groupadd -g 4242 team && usermod -aG team app
END
USER app
WORKDIR /home/app/work
RUN id -u > id && id -G >> id && (echo mine > /etc/mine) 2>/dev/null || echo refused >> id
USER root
RUN rm -f /etc/passwd- /etc/group- /etc/shadow- /etc/gshadow- /etc/subuid- /etc/subgid- /var/log/faillog /var/log/lastlog
