"""Lanes, reading ahead and packing: faults come through, nothing hangs, cuts do not show."""

from __future__ import annotations

import hashlib
import io
import random
import threading

import pytest

from ocitool.layer.compression.codecs import CHUNK, GZIP, NONE, ZSTD
from ocitool.layer.compression.packer import Packer
from ocitool.layer.compression.parallel import Lane, ReadAhead, Team

PATIENCE = 30.0  # seconds until a hang is called one; nothing here takes long


class Bang(Exception):
    """What goes wrong."""


def within(work):
    """Do *work* in a thread, and fail if it never ends."""
    done = []
    thread = threading.Thread(target=lambda: done.append(work()), daemon=True)
    thread.start()
    thread.join(PATIENCE)
    assert done, "it hangs, or it raised"
    return done[0]


def failing_at(count, seen):
    def work(piece):
        seen.append(piece)
        if len(seen) == count:
            raise Bang
        return piece

    return work


def test_a_lane_keeps_the_order():
    seen = []
    lane = Lane(seen.append)
    for n in range(100):
        lane.put(b"%d" % n)
    lane.close()
    assert seen == [b"%d" % n for n in range(100)]


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_a_team_keeps_the_order_whoever_is_first(threads):
    turn = threading.Barrier(threads)

    def work(piece):
        turn.wait(PATIENCE)  # all of them are at it
        return piece * 2

    def run():
        team = Team(work, threads)
        pieces = [b"%d," % n for n in range(threads * 20)]
        done = b"".join([team.put(piece) for piece in pieces])
        assert done  # nothing is kept back until the end
        return done + team.close(), b"".join(piece * 2 for piece in pieces)

    got, wanted = within(run)
    assert got == wanted


@pytest.mark.parametrize("at", [1, 7, 50])
def test_a_fault_in_a_team_reaches_who_puts_or_closes(at):
    def run():
        team = Team(failing_at(at, []), 2)
        with pytest.raises(Bang):
            for n in range(50):
                team.put(b"%d" % n)
            team.close()
        return True

    assert within(run)


@pytest.mark.parametrize("at", [1, 3, 50])
def test_a_fault_in_a_lane_reaches_who_puts_or_closes_and_never_blocks(at):
    def run():
        seen = []
        lane = Lane(failing_at(at, seen))
        raised = 0
        for n in range(200):  # many more than the lane holds
            try:
                lane.put(b"%d" % n)
            except Bang:
                raised += 1
        with pytest.raises(Bang):
            lane.close()
        return len(seen), raised

    seen, raised = within(run)
    assert seen == at
    assert raised > 0


def test_reading_ahead_gives_what_there_is_in_any_sizes():
    data = random.Random(1).randbytes(3 * CHUNK + 17)
    stream = ReadAhead(io.BytesIO(data))
    got = [stream.read(size) for size in (1, 1000, CHUNK, 2 * CHUNK)]
    assert b"".join(got) + stream.read() == data
    assert stream.read(1) == stream.read() == b""
    stream.close()


class Faulty:
    """A source that fails after some chunks."""

    def __init__(self, chunks):
        self.chunks, self.closed = chunks, False

    def read(self, size=-1):
        self.chunks -= 1
        if self.chunks < 0:
            raise Bang
        return b"x" * 100

    def close(self):
        self.closed = True


@pytest.mark.parametrize("chunks", [0, 1, 20])
def test_a_fault_of_the_source_reaches_every_read_after_it(chunks):
    source = Faulty(chunks)
    stream = ReadAhead(source)
    for _ in range(chunks):
        assert stream.read(100) == b"x" * 100
    for _ in range(3):  # never taken for the end
        with pytest.raises(Bang):
            stream.read(100)
    stream.close()
    assert source.closed


@pytest.mark.parametrize("taken", [0, 1, 100])
def test_closing_early_ends_the_thread(taken):
    class Endless(Faulty):
        def read(self, size=-1):
            return b"x" * 100

    source = Endless(0)
    stream = ReadAhead(source)
    for _ in range(taken):
        stream.read(100)
    within(lambda: (stream.close(), True))
    assert source.closed
    assert not stream._thread.is_alive()


def test_reading_what_is_closed_is_an_error_and_does_not_hang():
    def run():
        stream = ReadAhead(io.BytesIO(bytes(10 * CHUNK)))
        stream.close()
        with pytest.raises(ValueError, match="closed"):
            stream.read(1)
        return True

    assert within(run)


def packed(codec, pieces):
    blob = bytearray()
    packer = Packer(codec, blob.extend)
    for piece in pieces:
        packer.write(piece)
    return packer.finish(), packer.size, bytes(blob)


@pytest.mark.slow
@pytest.mark.parametrize("codec", [NONE, GZIP, ZSTD], ids=lambda codec: codec.name)
def test_a_blob_does_not_depend_on_how_its_tar_was_cut(codec):
    """It once did, and the same build had two digests."""
    numbers = random.Random(3)
    data = b"".join(b"line %d\n" % numbers.randrange(1000) for _ in range(400_000))
    whole = packed(codec, [data])
    assert whole[0].encoded == hashlib.sha256(data).hexdigest()
    assert whole[1] == len(data)
    assert codec.decompress(io.BytesIO(whole[2])).read() == data
    for step in (CHUNK, CHUNK - 1, CHUNK + 1, 512, 3 * CHUNK):
        assert packed(codec, [data[at : at + step] for at in range(0, len(data), step)]) == whole
    cuts = sorted(numbers.randrange(len(data)) for _ in range(50))
    ends = zip([0, *cuts], [*cuts, len(data)], strict=True)
    assert packed(codec, [data[start:end] for start, end in ends]) == whole
    assert packed(codec, [b"", data, b""]) == whole


@pytest.mark.parametrize("codec", [NONE, GZIP, ZSTD], ids=lambda codec: codec.name)
def test_nothing_packs_to_a_stream_of_nothing(codec):
    digest, size, blob = packed(codec, [])
    assert (digest.encoded, size) == (hashlib.sha256(b"").hexdigest(), 0)
    assert codec.decompress(io.BytesIO(blob)).read() == b""


def test_a_full_disk_reaches_who_packs_and_nothing_hangs():
    def run():
        before = threading.active_count()

        def sink(_):
            raise Bang

        packer = Packer(NONE, sink)
        with pytest.raises(Bang):
            for _ in range(100):
                packer.write(bytes(CHUNK))
            packer.finish()
        packer.abandon()
        return threading.active_count() - before

    assert within(run) == 0
