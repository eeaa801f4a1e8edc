"""A user without subordinate ids: builds, unpacks and runs, and its image has root's bytes."""

from __future__ import annotations

import gzip
import json

import pytest

from ocitool.drivers.conformance.layers import entries_of

EPOCH = {"SOURCE_DATE_EPOCH": "1700000000"}
FILES = """\
FROM tools:1
WORKDIR /srv/data
COPY --chown=33:44 f d/ ./
COPY --chown=7 d /opt/d
"""
PLAIN = """\
RUN rm /opt/d/g; touch /opt/d/new; ln -s new /opt/d/link; chmod 4755 /opt/d/new
RUN cat /srv/data/f >> /srv/data/g; chmod 600 /srv/data/f; mkdir -p /var/lib/x; rm -r /opt/d/sub
RUN ln /srv/data/g /srv/data/h
"""

OWNED = """\
RUN touch /srv/h; chown 33:44 /srv/h; mkdir /srv/e; touch /srv/e/f; chown -R 7:8 /opt/d /srv/e
RUN ln -s f /srv/l; chown -h 9:9 /srv/l; mkfifo -m 600 /srv/p; chown 1:2 /srv/p
RUN chown 5:6 /srv/data/f
RUN mknod -m 666 /srv/null c 1 3; chown :5 /srv/null; mknod -m 600 /srv/disk b 8 1
RUN chown -h 3:4 /opt/d/sub/link; chmod 6755 /opt/d/g; chown 5:6 /opt/d/g; chmod 4755 /srv/h
RUN chown 0:0 /srv/h; chown -h 0:0 /srv/l; rm /srv/p /srv/disk
RUN ln -s g /opt/d/new; chmod 600 /srv/null
"""
#: What other users make and see, in an image with the usual programs for that.
USERS = r"""
RUN useradd -m -G games app && groupadd -g 4000 web && usermod -aG web app && chage -M 30 app
RUN su app -c 'cd; touch f; mkdir -p d/e/; ln -s f l; mkfifo p; umask 077; echo x > g; ln f h'
RUN su app -c 'cd; mv l d/m; mv p d/; mv d n; cp -a n o; chgrp web f; chown 5 f || echo > no'
RUN su app -c 'cd; (setsid sh -c "sleep 0.2; id > late; echo > done" &)'; \
    until test -e ~app/done; do sleep 0.1; done
RUN setpriv --reuid app --regid web --clear-groups \
    sh -c 'id > /tmp/mine; touch /no || echo > /tmp/no'
RUN install -o app -g web -m 2775 -d /srv/web && touch /srv/web/f && mkdir /srv/web/sub && \
    ln -s x /srv/web/sub/l && su app -c 'touch /srv/web/by-app; mkdir /srv/web/a'
RUN cp -a ~app /srv/copy && tar -C /home -cf - app | tar -C /srv -xf - && \
    chown --reference=/home/app/f /srv/web/f && mknod /srv/disk b 8 1 && cp -a /srv/disk /srv/e
RUN cp /usr/bin/id /usr/bin/ids && chown games:web /usr/bin/ids && chmod 6755 /usr/bin/ids && \
    su app -c 'ids > ~/ids; chmod 755 /usr/bin/ids || echo no > ~/chmod'
USER app
RUN cd; id > who; test -w /etc && echo w >> who; test -O who && echo mine >> who; umask >> who
RUN touch /tmp/all; \
    find / -xdev '(' -path /proc -o -path /sys -o -path /root -o -path /var/cache ')' -prune \
    -o -printf '%y %m %U %G %l %p\n' 2>&1 | sort > /tmp/all
RUN perl -e 'print "$< $> $( $)\n"; $> = 0; print "$!\n"; print -w "/etc" ? "w" : "-"' > ~/perl
WORKDIR /home/app/work
RUN touch here 2> refused; mkdir -m 700 ../mine
USER 1234:4321
RUN id > /tmp/number; mkdir /tmp/x; chmod 600 /tmp/number
USER app:games
RUN touch /tmp/games; cp /tmp/mine ~/copy; rm -rf /srv/* /etc/passwd || true; sed -i s/u/v/ ~/copy
USER 0
COPY <<END /p/DEBIAN/control
Package: p
Version: 1
Architecture: all
Maintainer: a <a@b>
Description: d
END
COPY --chmod=755 <<END /p/DEBIAN/postinst
#!/bin/sh
adduser --system --group --quiet pkg || groupadd --system pkg
END
RUN mkdir -p /p/usr/share/p /p/var/p && echo x > /p/usr/share/p/f && chown 5:4000 /p/var/p && \
    dpkg-deb -b /p /p.deb && apt-get install -y /p.deb && rm -rf /var/log/* /var/cache/* /p.deb /p
"""


@pytest.fixture(scope="module")
def context(session_tree):
    top = session_tree / "aside-context"
    (top / "d/sub").mkdir(parents=True)
    for place in (top, top / "d", top / "d/sub"):
        place.chmod(0o755)
    (top / "f").write_text("1\n")
    (top / "d/g").write_text("2\n")
    (top / "d/sub/link").symlink_to("../g")
    return top


@pytest.fixture(scope="module")
def both(session_tree, rangeless_user, tools_context, run_cli):
    """Return a function that builds a Dockerfile as root and as the user; both images' ids."""
    roots, theirs = session_tree / "aside-root", rangeless_user.home / "store"
    tools_context.parent.chmod(0o755)

    def build(context, text, driver=()):
        (context / "Dockerfile").write_text(text)
        ids = []
        for root, user in ((roots, None), (theirs, rangeless_user)):
            words = ("build", "-q", "-t", "tools:1", tools_context)
            run_cli(*words, root=root, user=user, env=EPOCH).ok()
            words = (*driver, "build", "-q", "-t", "made:1", context)
            ids.append(run_cli(*words, root=root, user=user, env=EPOCH).ok().stdout)
        return ids

    yield build, roots, theirs
    for root, user in ((roots, None), (theirs, rangeless_user)):
        run_cli("system", "prune", "-a", "-f", root=root, user=user)


def entries(root):
    """What the layers of the image made:1 in a store hold."""
    blobs = root / "oci/blobs/sha256"

    def blob(descriptor):
        return (blobs / descriptor["digest"].partition(":")[2]).read_bytes()

    index = json.loads((root / "oci/index.json").read_text())
    names = "io.containerd.image.name"
    (made,) = (m for m in index["manifests"] if "made:1" in m.get("annotations", {}).get(names, ""))
    layers = json.loads(blob(made))["layers"]
    return [entries_of(gzip.decompress(blob(layer))) for layer in layers]


@pytest.fixture(scope="module")
def single_id_builds(run_cli, rangeless_user, containers):
    """Skip where this user can unpack nothing."""
    done = run_cli("info", root=rangeless_user.home / "store", user=rangeless_user).ok()
    if ".aside" not in done.stdout:
        pytest.skip(f"needs user namespaces for every user: {done.stdout}")


@pytest.mark.campaign
@pytest.mark.usefixtures("single_id_builds")
@pytest.mark.parametrize("driver", [(), ("--driver", "vfs")])
@pytest.mark.parametrize("steps", [PLAIN, OWNED])
def test_an_image_has_roots_bytes(both, context, driver, steps):
    build, roots, store = both
    last = f"ENV DRIVER={driver[1:]}\nRUN touch /opt/d/{len(driver)}\n"
    ours, theirs = build(context, FILES + steps + last, driver)
    for mine, other in zip(entries(roots), entries(store), strict=True):
        assert list(mine.values()) == list(other.values())
    assert ours == theirs


@pytest.mark.usefixtures("single_id_builds")
def test_what_was_built_is_run_and_checked(both, context, run_cli, rangeless_user):
    build, _, store = both
    build(context, FILES + PLAIN)

    def run(*words):
        return run_cli(*words, root=store, user=rangeless_user)

    assert run("run", "--rm", "made:1", "cat", "/srv/data/h").ok().stdout == "2\n1\n"
    assert run("run", "--rm", "made:1", "id", "-u").ok().stdout == "0\n"
    assert run("system", "check").ok()
    shown = run("info").ok().stdout
    assert ".aside" in shown and "stored in extended attributes" in shown and "subuid" in shown
    assert {p.name.rpartition(".")[2] for p in (store / "drivers").iterdir()} == {"aside", "json"}


@pytest.mark.usefixtures("single_id_builds")
def test_root_of_a_namespace_of_one_id_is_such_a_user(both, context, rangeless_user):
    build, _, store = both
    build(context, FILES)
    user = rangeless_user
    steps = "RUN chown 3:4 /srv; mknod /srv/null c 1 3\nUSER 3\nRUN touch /srv/mine\n"
    (context / "Dockerfile").write_text(FILES + steps)
    become = ("unshare", "--user", "--map-root-user", user.python, "-m", "ocitool")
    user.run(*become, "--root", store, "build", "-q", "-t", "made:1", context).ok()
    *_, last, users = entries(store)
    assert (users["srv/mine"].uid, users["srv/mine"].gid) == (3, 0)
    assert (last["srv"].uid, last["srv"].gid, last["srv/null"].device) == (3, 4, (1, 3))


#: Chooses a driver, and once more when the user has been given ranges.
CHOOSE = """
import sys
from ocitool import Store
from ocitool.drivers.rootless import single_id
from ocitool.errors import DriverUnavailable
with Store.open(sys.argv[1]) as store:
    print(store.choose_driver().name == store.choose_driver().name)
    single_id.reason = lambda: ""
    try: store.choose_driver()
    except DriverUnavailable as error: print(error.message)
"""


@pytest.mark.usefixtures("single_id_builds")
def test_the_driver_is_chosen_anew_when_ranges_are_given(rangeless_user):
    user = rangeless_user
    done = user.run(user.python, "-c", CHOOSE, user.home / "chosen").ok()
    assert done.stdout.startswith("True\nlayers cannot be unpacked by this user with their owners:")


@pytest.mark.campaign
@pytest.mark.slow
@pytest.mark.usefixtures("single_id_builds")
def test_what_other_users_make_has_roots_bytes(both, context, debian_base):
    build, roots, store = both
    ours, theirs = build(context, f"FROM {debian_base}{USERS}")
    for mine, other in zip(entries(roots), entries(store), strict=True):
        assert list(mine.values()) == list(other.values())
    assert ours == theirs


@pytest.mark.usefixtures("single_id_builds")
def test_another_user_runs(both, context, run_cli, rangeless_user):
    build, _, store = both
    build(context, FILES)
    words = ("run", "--rm", "--user", "7:8", "--group-add", "9", "made:1", "id")
    done = run_cli(*words, root=store, user=rangeless_user).ok()
    assert done.stdout == "uid=7(ann) gid=8(ann) groups=8(ann),9\n"


def test_a_user_with_all_ids_keeps_nothing_aside(run_cli, tmp_path):
    done = run_cli("--driver", "vfs.aside", "info", root=tmp_path / "store")
    assert "ownership override is only for users with a single ID" in done.stdout
