"""Probes of drivers: what they say, and that they leave nothing."""

from __future__ import annotations

import os
import subprocess

from ocitool.drivers import probes


def test_a_probe_without_an_answer_is_a_reason(tmp_path, monkeypatch):
    def wait(words, *, timeout, **options):
        raise subprocess.TimeoutExpired(words, timeout)

    monkeypatch.setattr(subprocess, "run", wait)
    support = probes.try_overlay(str(tmp_path), ())
    assert not support.ok and "no answer within 30 seconds" in support.reason
    assert os.listdir(tmp_path) == []


def test_what_a_killed_probe_has_left_is_removed_by_the_next(tmp_path):
    (tmp_path / "probe-killed").mkdir()
    with probes.probe_directory(str(tmp_path)) as directory:
        assert os.listdir(tmp_path) == [os.path.basename(directory)]
