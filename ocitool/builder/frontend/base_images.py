"""Images that a build starts from or takes files of: from the store, or pulled into it."""

from __future__ import annotations

from ocitool.builder.options import BuildOptions
from ocitool.errors import BuildError, ImageNotFound, NotFound, RegistryError
from ocitool.image.image import Image
from ocitool.image.store_content import local_image
from ocitool.oci.digest import Digest
from ocitool.oci.platform import Platform
from ocitool.progress import ProgressSink
from ocitool.store.store import Store


class Bases:
    """Finds images by name; each is looked up once in a build."""

    def __init__(self, store: Store, options: BuildOptions, progress: ProgressSink) -> None:
        self._store = store
        self._options = options
        self._progress = progress
        self._found: dict[tuple[str, str], Image] = {}
        self.pulled: set[Digest] = set()  # manifests that had to be fetched

    def get(self, name: str, platform: Platform) -> Image:
        """Return the image *name* for *platform*.

        What the store has is used, unless the build is told to pull.
        """
        key = (name, str(platform))
        if key not in self._found:
            self._found[key] = self._find(name, platform)
        return self._found[key]

    def _find(self, name: str, platform: Platform) -> Image:
        if not self._options.pull:
            try:
                image = local_image(self._store, name, platform)
                if image.config.platform.architecture == platform.architecture:
                    return image
            except ImageNotFound:
                pass
        from ocitool.image.transfer import pull

        try:
            pulled = pull(
                name,
                into=self._store,
                platform=platform,
                insecure=self._options.insecure,
                authfile=self._options.authfile or None,
                unpack=False,
                progress=self._progress,
            )
        except NotFound as error:
            raise BuildError(
                f"the base image {name} does not exist: {error}", hint=error.hint
            ) from error
        except RegistryError as error:
            error.hint = error.hint or f"{name} is not in the store, so its registry was asked"
            raise
        self.pulled.add(pulled.digest)
        return pulled
