"""What programs and images try against the machine, in each way to isolate them.

Where one does not protect, docs/security.md says so, and the attack has to succeed here.
"""

from __future__ import annotations

import os
import shutil

import pytest

from tests.fixtures.trials import MODES, trials_in

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=MODES)
def mode(request):
    return request.param


@pytest.fixture(scope="module")
def trials(mode, request):
    with trials_in(mode, request) as made:
        yield made


@pytest.fixture
def says(trials):
    """Return a function that runs a script, and returns what it says."""

    def says(script, **fields):
        found = trials.run({"script": f"exec 2>/dev/null\nPATH=/bin\n{script}\nexit 7", **fields})
        assert (found["ended"], found["faults"]) == ("runs", [])
        return found["said"]

    return says


@pytest.fixture
def users():
    """As whom programs try it."""
    return ("", "7:8")


def test_links_of_the_image_stay_in_it(says, users):
    """Also behind links of /proc, which the shim follows for programs in a chroot."""
    tree = [["out", "link", 0, "OUTSIDE/file"], ["up", "link", 0, "../../../../../..OUTSIDE"],
            ["file", "file", 0o644, "own\n"], ["in", "link", 0, "/file"]]  # fmt: skip
    script = """
    for top in '' /proc/self/root /proc/self/cwd /proc/thread-self/root /proc/$$/root /dev/fd/5 \\
        /proc/self/task/$$/root /proc/self/fd/5/proc/self/root /proc/self/root/proc/self/cwd
    do cat $top/out; cat $top/up/file; readlink -f $top/out/file; ls $top/up/in; done 5</
    echo x >> /proc/self/cwd/out; echo x > /proc/self/root/up/file
    cat /proc/self/cwd/in /proc/$$/root/file /dev/fd/5/in 5</
    """
    for user in users:
        said = says(script, tree=tree, user=user)
        assert said.endswith("own\nown\nown\n")
        assert "outside" not in said and "hosts" not in said


def test_the_rights_behind_links_of_proc_are_the_programs(says, mode):
    """Neither root's, nor those of groups that the shim has.

    With a single ID such a path is the kernel's, for which all users are one.
    """
    tree = [["root", "file", 0o600, "root's\n"], ["group", "file", 0o640, "group's\n"]]
    reads = "cat /proc/self/root/root /proc/self/cwd/group"
    writes = "for path in root group; do (exec 3>> /proc/self/cwd/$path) && echo written; done"
    assert says(f"{reads}; {writes}", tree=tree) == "root's\ngroup's\nwritten\nwritten\n"
    said = says(f"{reads}; {writes}", tree=tree, user="7:8")
    assert said == ("root's\ngroup's\nwritten\nwritten\n" if mode == "single" else "")


def test_settings_of_the_kernel_cannot_be_written(says, users):
    """A core pattern is a program that the kernel runs as root; a release agent, too."""
    script = """
    for path in /proc/sys/kernel/core_pattern /proc/sys/kernel/domainname \\
        /proc/sys/vm/drop_caches /proc/sys/net/ipv4/ip_forward /proc/sys/fs/binfmt_misc/register \\
        /proc/sysrq-trigger /proc/irq/default_smp_affinity /proc/bus/pci/devices \\
        /sys/power/state /sys/kernel/uevent_helper /sys/fs/cgroup/*/release_agent \\
        /sys/fs/cgroup/cgroup.procs /sys/fs/cgroup/*/cgroup.procs
    do (exec 3>> $path) && echo $path; done
    mount -t tmpfs none /bin && echo mounted
    """
    for user in users:
        assert says(script, user=user) == ""


def test_a_setting_of_root_alone_is_not_opened_by_others(says, users):
    """A sysctl asks for the effective user ID, and not for that of files."""
    for user in users[1:]:
        assert says("(exec 3< /proc/sys/vm/mmap_rnd_bits) && echo opened", user=user) == ""


def test_the_shim_is_out_of_reach(says, users):
    """Its memory, files and environment: the parent of a chroot's program, nowhere else seen."""
    script = """
    for path in mem environ root/etc/passwd cwd/etc/passwd fd/0 exe maps task/$PPID/mem
    do (exec 3< /proc/$PPID/$path) && echo $path; (exec 3<> /proc/$PPID/$path) && echo $path; done
    ls /proc/$PPID/fd /proc/$PPID/root/
    for path in mem environ root/etc/passwd exe
    do (exec 5< /proc/$PPID; cat /proc/self/fd/5/$path && echo $path); done
    """
    for user in users:
        assert says(script, user=user) == ""


def test_no_descriptor_and_no_variable_leaks(says, users):
    for user in users:
        assert says("ls /proc/self/fd", user=user).split() == ["0", "1", "2", "3"]
        names = {line.split("=")[0] for line in says("env", user=user).split()}
        assert names <= {"PATH", "HOME", "PWD", "SHLVL", "OLDPWD"}


@pytest.mark.parametrize("number", range(3, 12))
def test_a_working_directory_behind_a_descriptor_leads_nowhere(trials, number):
    """CVE-2024-21626: WORKDIR /proc/self/fd/N."""
    script = f"cat ../../../../../..OUTSIDE/file; [ $(pwd) = /proc/self/fd/{number} ] && echo own"
    found = trials.run({"cwd": f"/proc/self/fd/{number}", "script": f"{script}; exit 7"})
    assert found["faults"] == []
    assert found["said"] in ("", "own\n")
    assert found["ended"] == "runs" or "cannot enter the working directory" in found["ended"]


def test_processes_of_the_machine(says, mode):
    """They are seen, and get signals of root, in a chroot alone."""
    said = says(f"kill -0 {os.getpid()} && echo reached; ls -d /proc/{os.getpid()}")
    assert said == (f"reached\n/proc/{os.getpid()}\n" if mode == "chroot" else "")


@pytest.mark.parametrize("user", ["", "7:8"])
def test_what_forks_and_ends_all_the_time_is_ended(trials, user):
    found = trials.run({"script": "f() { f & }; f; f; exit 7", "user": user})
    assert (found["ended"], found["faults"]) == ("runs", [])


def test_files_of_ids_without_a_map_are_closed(says, mode):
    """CAP_DAC_OVERRIDE of a user namespace counts for the IDs that it maps."""
    if mode in ("namespaces", "chroot"):
        pytest.skip("there is no user namespace")
    script = "cat /shadow; chown 0:0 /shadow && echo given; touch /shadow && echo touched"
    assert says(script, mounts=[["/etc/shadow", "/shadow"]]) == ""


#: Types a line into the terminal STDIN, and into whatever /dev/tty is.
TYPE = """
perl -e 'for my $name ("&STDIN", "+</dev/tty", "+</dev/pts/0", "+</dev/console") {
    open(my $terminal, $name =~ /^&/ ? "<$name" : $name) or next;
    ioctl($terminal, 0x540E, 1);  # TIOCSCTTY: the terminal of another session becomes its own
    for my $key (split //, "echo typed\n") { ioctl($terminal, 0x5412, $key) and print "typed "; }
}'
"""
#: Looks for the caller's key: keyctl (search, in session and user keyring), request_key, add_key.
KEYS = """
perl -e 'my ($add, $request, $control) = (NUMBERS);
my ($type, $name, $value) = ("user\\0", "ocitool-caller\\0", "x\\0");
for my $ring (-3, -5) { syscall($control, 10, $ring, $type, $name, 0) > 0 and print "found "; }
syscall($request, $type, $name, 0, 0) > 0 and print "requested ";
syscall($control, 6, -3, 0) > 0 and print "described ";
syscall($add, $type, $name, $value, 1, -3) > 0 and print "added ";'
""".replace("NUMBERS", "217, 218, 219" if os.uname().machine == "aarch64" else "248, 249, 250")


@pytest.fixture
def attack(trials):
    """Return a function that runs a script whose caller has a terminal and a key."""
    if shutil.which("perl") is None:
        pytest.skip("needs perl")

    def attack(script, **fields):
        trial = {"script": f"exec 2>/dev/null\nPATH=$PATH:/bin\n{script}\nexit 7", "perl": True}
        return trials.run({**trial, "stdin": "terminal", **fields})

    return attack


def test_no_line_is_typed_into_the_terminal_of_the_caller(attack, users, mode):
    """TIOCSTI (CVE-2005-4890): the shell would execute it after the container."""
    if not attack(TYPE, bare=True)["typed"].startswith("echo typed\n"):
        pytest.skip("this kernel has no TIOCSTI (dev.tty.legacy_tiocsti)")
    for user in users:
        for terminal in (False, True):
            found = attack(TYPE, user=user, terminal=terminal)
            assert found["faults"] == []
            assert terminal or found["said"] == ""
    if mode != "chroot":
        with_admin = attack(TYPE, more_capabilities=["CAP_SYS_ADMIN"])["faults"]
        assert bool(with_admin) == (mode == "namespaces")  # as with docker; docs/security.md


def test_keys_of_the_caller_are_not_found(attack, users, mode):
    """Neither with the seccomp filter, nor by the keyring alone."""
    if "found" not in attack(KEYS, bare=True)["said"]:
        pytest.skip("this kernel has no keyrings")
    for user in users:
        assert attack(KEYS, user=user)["said"] == ""
        listed = attack("cat /proc/keys", user=user)["said"]  # names, never values
        assert ("ocitool-caller" in listed) == (mode == "chroot")
    if mode in ("namespaces", "subordinate"):  # the others need the filter
        said = attack(KEYS, seccomp=False)["said"]
        assert "found" not in said and "requested" not in said and "added" in said
