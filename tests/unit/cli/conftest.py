"""Real peers to compare the command line with."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable

import pytest


@pytest.fixture
def docker() -> Callable[..., str]:
    """Give the real client, to compare with; skips where it has no engine or no image."""
    if shutil.which("docker") is None:
        pytest.skip("no docker client")
    if "DOCKER_HOST" not in os.environ:
        pytest.skip("no docker engine: DOCKER_HOST is not set")
    try:
        images = run_docker("images", "-q")
    except (subprocess.SubprocessError, OSError) as error:
        pytest.skip(f"the docker engine does not answer: {error}")
    if not images.strip():
        pytest.skip("the docker engine holds no image")
    return run_docker


def run_docker(*arguments: str) -> str:
    return subprocess.run(
        ["docker", *arguments], capture_output=True, text=True, timeout=60, check=True
    ).stdout
