"""``system df`` and ``system prune`` on the command line."""

from __future__ import annotations

import re

from tests.fixtures.commands import failed


def kinds(cli):
    rows = cli("system", "df", "--format", "{{.Type}}={{.Reclaimable}}").ok().stdout.splitlines()
    return dict(row.split("=") for row in rows)


def test_what_takes_space(cli):
    found = kinds(cli)
    kinds_of_content = ["Images", "Unpacked layers", "Layer indexes", "Build cache", "Cache mounts"]
    assert list(found) == kinds_of_content
    assert found["Images"] == "0B (0%)"


def test_info_and_df_count_images_and_not_their_names(cli, tmp_path):
    cli("tag", "app:1", "app:2").ok()
    counted = ("system", "df", "--format", "{{.Type}}={{.TotalCount}}/{{.Active}}")
    assert "Images=1/1" in cli(*counted).ok().stdout.splitlines()
    assert cli("info", "-f", "{{.Images}}").ok().stdout == "1\n"
    # Another manifest with the same config is the same image.
    cli("build", "-q", "-t", "app:3", "--compression-format", "zstd", "--force-compression",
        "--from", "app:1", tmp_path, "-f", "-", stdin="FROM x\n").ok()  # fmt: skip
    ids = set(cli("images", "-q", "--no-trunc").ok().stdout.split())
    assert cli("info", "-f", "{{.Images}}").ok().stdout == f"{len(ids)}\n"
    assert f"Images={len(ids)}/{len(ids)}" in cli(*counted).ok().stdout.splitlines()


def test_every_image_and_build_step(cli):
    cli("tag", "app:1", "app:2").ok()
    shown = cli("system", "df", "-v").ok().stdout
    images, _, cache = shown.partition("Build cache usage: ")
    assert images.startswith("Images space usage:\n\nREPOSITORY")
    rows = [line.split() for line in images.splitlines()[3:] if line]
    assert [row[:2] for row in rows] == [["app", "2"], ["app", "1"]]
    assert all(re.search(r" 0B +\S+B +0$", line) for line in images.splitlines()[3:] if line)
    assert cache.splitlines()[2].split() == ["CACHE", "ID", "SIZE", "LAST", "USED", "SHARED"]
    shared = [line.split()[-1] for line in cache.splitlines()[3:]]
    assert sorted(shared) == ["false", "true"]  # the image, and the layer that it has, too
    failed(
        cli("system", "df", "-v", "--format", "json"),
        2,
        "--verbose and --format are mutually exclusive",
    )


def test_filters_select_what_is_removed(cli, tmp_path):
    (tmp_path / "Dockerfile").write_text("FROM app:1\nLABEL stage=test\n")
    cli("build", "-q", "-t", "labelled:1", tmp_path).ok()
    cli("system", "prune", "-af", "--filter", "label=stage", "--filter", "label!=stage=live").ok()
    assert cli("images", "--format", "{{.Repository}}").ok().stdout == "app\n"
    cli("system", "prune", "-af", "--filter", "until=1970-01-01").ok()
    assert cli("images", "-q").ok().stdout
    cli("system", "prune", "-af", "--filter", "until=0s").ok()
    assert cli("images", "-q").ok().stdout == ""
    failed(cli("system", "prune", "-f", "--filter", "colour=red"), 2, "unknown filter 'colour'")


def test_the_build_cache_is_kept_up_to_a_size(cli):
    done = cli("system", "prune", "-f", "--max-used-space", "1GB").ok()
    assert " 0 cache records" in done.stdout
    refused = cli("system", "prune", "--keep-storage", "1k", stdin="n\n")
    assert "the build cache beyond 1k" in refused.stderr
    done = cli("system", "prune", "-af").ok()
    assert " 0 cache records" not in done.stdout
    failed(cli("system", "prune", "--max-used-space", "much"), 2, "invalid size")
