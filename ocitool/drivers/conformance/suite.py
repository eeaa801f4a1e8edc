"""The conformance suite that every `Driver` passes, also those of third parties.

A test class inherits from `DriverConformance` and says how to make a driver in a directory::

    class TestMine(DriverConformance):
        def make(self, home):
            return MyDriver(home)

With `ocitool.drivers.select.make(NAME, home)` instead of the class the driver works for an ordinary
user, too.  The suite uses only ``assert``: it runs with any test runner that calls methods named
``test_*`` and knows `unittest.SkipTest`.
"""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Callable

from ocitool.drivers.conformance import layers
from ocitool.drivers.conformance.corners import DriverCorners
from ocitool.drivers.conformance.harness import Broken, raises, run_inside, timeless
from ocitool.drivers.conformance.hostile import DriverHostile
from ocitool.drivers.conformance.layers import directory, file, hardlink, opaque, tar, whiteout
from ocitool.drivers.driver import Driver
from ocitool.errors import DriverError, LayerError, LayerNotFound, OcitoolError
from ocitool.layer.beneath import remove_tree
from ocitool.oci.content import Stream

A, B, C = (letter * 64 for letter in "abc")  # names of layers


class DriverConformance(DriverCorners, DriverHostile):
    """What a driver must do."""

    def test_its_probe_leaves_nothing(self) -> None:
        home = tempfile.mkdtemp(prefix="driver-")
        driver = self.make(home)
        try:
            support = driver.probe()
            assert support.ok, support
            assert os.listdir(home) == []
        finally:
            driver.close()
            remove_tree(home)

    def test_it_says_what_it_is(self) -> None:
        with self.driver() as driver:
            assert driver.name
            assert all(callable(getattr(driver, method)) for method in driver.mapped)

    def test_a_layer_is_unpacked_as_it_was_written(self) -> None:
        members = self.everything
        with self.driver() as driver:
            done = self.layer(driver, A, (), members)
            assert (done.entries, done.notes) == (len(members), ())
            assert done.size == sum(len(content) for _, content in members)
            assert self.look(driver, (A,)) == layers.described(members)
            assert list(driver.check(A, (), tar(members))) == []

    def test_layers_cover_each_other(self) -> None:
        me = self.owner
        low = [directory(name, me) for name in ("changed", "gone", "hidden", "kept", "to-file")]
        low += [file(f"{each[0].path}/old", b"old", me) for each in low]
        low += [file("to-dir", b"a file", me), file("here", b"1", me), file("away", b"1", me)]
        high = [
            file("changed/new", b"new", me),
            whiteout("gone", me),
            opaque("hidden", me),
            file("hidden/new", b"new", me),
            file("to-file", b"now a file", me),
            directory("to-dir", me),
            file("to-dir/new", b"new", me),
            file("here", b"2", me),
            whiteout("away", me),
            whiteout("kept/old", me),
        ]
        wanted = ("changed", "changed/new", "changed/old", "here", "hidden", "hidden/new", "kept",
                  "to-dir", "to-dir/new", "to-file")  # fmt: skip
        with self.driver() as driver:
            self.layer(driver, A, (), low)
            self.layer(driver, B, (A,), high)
            self.layer(driver, C, (A, B), [directory("gone", me), file("away", b"3", me)])
            assert list(driver.check(B, (A,), tar(high))) == []
            assert self.look(driver, (A,)) == layers.described(low)
            both = self.look(driver, (A, B))
            assert tuple(sorted(both)) == wanted
            assert both["here"] == layers.described(high)["here"]
            assert both["hidden"]["mode"] == oct(0o40755)
            assert sorted({*self.look(driver, (A, B, C))} - {*wanted}) == ["away", "gone"]

    def test_a_hard_link_may_lead_to_a_layer_below(self) -> None:
        me = self.owner
        with self.driver() as driver:
            self.layer(driver, A, (), [directory("d", me), file("d/f", b"content", me)])
            self.layer(driver, B, (A,), [hardlink("g", "d/f", me)])
            seen = self.look(driver, (A, B))
            assert seen["g"] == seen["d/f"]
            assert seen["g"]["linked"]
            assert list(driver.check(B, (A,), tar([hardlink("g", "d/f", me)]))) == []

    def test_a_view_cannot_be_written(self) -> None:
        code = "import json\ntry: open('f', 'a'); print('0')\nexcept OSError as e: print(e.errno)"
        if self.in_place:
            code = "print(30)"  # nobody mounts it
        with self.driver() as driver:
            self.layer(driver, A, (), [file("f", b"", self.owner, mode=0o666)])
            assert run_inside(driver.view((A,)), code, in_place=self.in_place) == 30  # EROFS

    def test_nothing_can_be_looked_at_and_built_on(self) -> None:
        with self.driver() as driver:
            assert self.look(driver, ()) == {}
            driver.begin("t", ())
            self.inside(driver, "t", (), "open('new', 'w').close()")
            assert [*layers.entries_of(self.diff(driver, "t", ()))] == ["new"]

    def test_writes_stay_in_their_tree(self) -> None:
        low = self.everything
        with self.driver() as driver:
            self.layer(driver, A, (), low)
            for key in ("one", "two"):
                driver.begin(key, (A,))
            self.inside(driver, "one", (A,), "open('d/f', 'w').close()")
            self.inside(driver, "two", (A,), "import os; assert os.path.getsize('d/f') == 40000")
            assert self.look(driver, (A,)) == layers.described(low)

    def test_a_diff_is_what_was_done(self) -> None:
        edit = (
            "import os\n"
            "os.unlink('away'); os.unlink('gone/f'); os.rmdir('gone'); os.rmdir('again')\n"
            "os.mkdir('again', 0o700); os.link('new', 'twin') if os.mkfifo('p') else None\n"
            "open('new', 'w').write('new'); os.link('new', 'twin'); os.symlink('new', 'link')\n"
            "open('f', 'a').write('more'); os.utime('f', (1, 1)); os.chmod('mode', 0o600)\n"
        )
        me = self.owner if self.foreign_ids is False else (0, 0)
        low = [directory(name, me) for name in ("again", "gone", "same")]
        low += [file(name, b"1", me) for name in ("away", "f", "gone/f", "mode", "same/f")]
        with self.driver() as driver:
            self.layer(driver, A, (), low)
            driver.begin("t", (A,))
            assert self.diff(driver, "t", (A,)) == self.diff(driver, "t", (A,))
            self.inside(driver, "t", (A,), edit)
            data = self.diff(driver, "t", (A,))
            assert data == self.diff(driver, "t", (A,))
            found = layers.entries_of(data)
            assert {".wh.away", ".wh.gone", "f", "link", "mode", "new", "p", "twin"} <= {*found}
            assert not {"same", "same/f", "away", "gone", "gone/f"} & {*found}
            assert found["twin"].link == "new"
            assert (found["f"].size, found["f"].mtime) == (5, 10**9)
            # The committed snapshot and the layer that was written show the same.
            driver.commit("t", B)
            driver.begin("again", (A,))
            driver.apply("again", (A,), io.BytesIO(data))
            driver.commit("again", C)
            assert timeless(self.look(driver, (A, B))) == timeless(self.look(driver, (A, C)))

    def test_a_clamp_reaches_the_files(self) -> None:
        with self.driver() as driver:
            driver.begin("t", ())
            self.inside(driver, "t", (), "import os; os.mkdir('d'); open('d/f', 'w').close()")
            data = self.diff(driver, "t", (), clamp=layers.TIME)
            times = {entry.mtime for entry in layers.entries_of(data).values()}
            assert times == {layers.TIME * 10**9}
            assert self.diff(driver, "t", ()) == data
            driver.commit("t", A)
            assert {seen["time"] for seen in self.look(driver, (A,)).values()} == {layers.TIME}

    def test_a_key_is_begun_once(self) -> None:
        with self.driver() as driver:
            driver.begin("t", ())
            driver.apply("t", (), tar([file("f", b"1", self.owner)]))
            raises(DriverError, lambda: driver.begin("t", ()))
            assert [*layers.entries_of(self.diff(driver, "t", ()))] == ["f"]

    def test_nothing_stands_on_what_is_not_there(self) -> None:
        with self.driver() as driver:
            self.layer(driver, A, (), [])
            raises(LayerNotFound, lambda: driver.begin("t", (B, A)))
            raises(LayerNotFound, lambda: driver.begin("t", (A, B)))
            assert list(driver.trees()) == []
            raises(LayerNotFound, lambda: driver.view((A, B)))
            raises(LayerNotFound, lambda: driver.usage(B))

    def test_a_commit_is_done_once(self) -> None:
        first, second = [file("f", b"1", self.owner)], [file("f", b"2", self.owner)]
        with self.driver() as driver:
            self.layer(driver, A, (), first)
            driver.commit(f"for-{A[:8]}", A)
            driver.begin("late", ())
            driver.apply("late", (), tar(second))
            driver.commit("late", A)
            assert (list(driver.layers()), list(driver.trees())) == ([A], [])
            assert self.look(driver, (A,)) == layers.described(first)
            raises(DriverError, lambda: driver.commit("never", B))

    def test_a_tree_is_discarded_whatever_is_in_it(self) -> None:
        with self.driver() as driver:
            driver.begin("t", ())
            driver.apply("t", (), tar(self.everything))
            assert list(driver.trees()) == ["t"]
            driver.discard("t")
            driver.discard("t")
            assert list(driver.trees()) == []
            driver.begin("t", ())
            assert self.diff(driver, "t", ()) == tar([]).getvalue()

    def test_a_layer_is_removed(self) -> None:
        with self.driver() as driver:
            self.layer(driver, A, (), self.everything)
            self.layer(driver, B, (A,), [file("f", b"", self.owner)])
            driver.remove(B)
            driver.remove(B)
            assert (list(driver.layers()), driver.has(A), driver.has(B)) == ([A], True, False)
            assert "d/f" in self.look(driver, (A,))
            driver.remove(A)
            assert (list(driver.layers()), driver.has(A)) == ([], False)

    def test_a_corrupt_or_hostile_layer_is_refused(self) -> None:
        good = tar(self.everything).getvalue()
        link = layers.symlink("d", "d", self.owner)
        hostile = tar([link, file("d/f", b"", self.owner)]).getvalue()
        with self.driver() as driver:
            for at, data in enumerate((good[:5000], b"x" * 2048, hostile)):
                driver.begin(f"t{at}", ())
                raises(LayerError, _applying(driver, f"t{at}", io.BytesIO(data)))
                driver.discard(f"t{at}")
            assert list(driver.trees()) == []

    def test_a_fault_of_the_source_comes_through(self) -> None:
        with self.driver() as driver:
            driver.begin("t", ())
            error = raises(OcitoolError, _applying(driver, "t", Broken()))
            assert error.message == "the source broke"
            driver.discard("t")
            self.layer(driver, A, (), [file("f", b"after", self.owner)])
            assert list(self.look(driver, (A,))) == ["f"]

    def test_a_check_tells_what_is_not_as_in_the_tar(self) -> None:
        me = self.owner
        with self.driver() as driver:
            content = [file("f", b"content", me), directory("d", me)]
            self.layer(driver, A, (), content)
            other = [file("f", b"CONTENT", me), directory("d", me, 0o700), file("g", b"", me)]
            found = list(driver.check(A, (), tar(other)))
            # A driver that keeps the tar reports that it differs; others name the entries.
            named = {line.partition(":")[0] for line in found}
            assert found if driver.tar(A) else named >= {"/f", "/d", "/g"}, found
            assert list(driver.check(A, (), tar(content))) == []
            assert self.look(driver, (A,)).keys() == {"f", "d"}  # it changed nothing
            raises(LayerNotFound, lambda: list(driver.check(B, (A,), tar([]))))
            raises(LayerError, lambda: list(driver.check(A, (), io.BytesIO(b"x" * 2048))))

    def test_usage_counts_every_file_once(self) -> None:
        me = self.owner
        with self.driver() as driver:
            self.layer(driver, A, (), [file("f", b"x" * 70_000, me), hardlink("g", "f", me)])
            found = driver.usage(A)
            assert 70_000 <= found.size < 140_000
            assert found.inodes == 2  # the file, and the root directory

    def test_what_it_has_is_on_disk(self) -> None:
        home = tempfile.mkdtemp(prefix="driver-")
        one, other = self.make(home), self.make(home)
        try:
            self.layer(one, A, (), [file("f", b"1", self.owner)])
            one.begin("t", (A,))
            assert (list(other.layers()), list(other.trees())) == ([A], ["t"])
            assert self.look(other, (A,)) == self.look(one, (A,))
            other.discard("t")
            other.remove(A)
            assert [*one.layers(), *one.trees()] == []
        finally:
            for each in (one, other, other):  # a second call does nothing
                each.close()
            remove_tree(home)

    def test_many_layers_stack(self) -> None:
        names = [f"{at:064x}" for at in range(60)]
        with self.driver() as driver:
            for at, name in enumerate(names):
                members = [file(f"f{at}", b"", self.owner), file("top", b"%d" % at, self.owner)]
                self.layer(driver, name, names[:at], members)
            seen = self.look(driver, names)
            assert len(seen) == 61
            assert seen["top"] == layers.described(members)["top"]


def _applying(driver: Driver, key: str, data: Stream) -> Callable[[], object]:
    return lambda: driver.apply(key, (), data)
