"""Which images a build finds, and where: the options for registries."""

from __future__ import annotations

from dataclasses import replace

from ocitool.builder.context_sources.named import named_contexts
from ocitool.builder.options import BuildOptions
from ocitool.builder.solver.images import SourceImages
from ocitool.builder.solver.mirrors import Mirrors
from ocitool.oci.layout_reference import is_layout
from ocitool.progress import ProgressSink
from ocitool.store.store import Store


def source_images(
    options: BuildOptions, store: Store, progress: ProgressSink, *, claim: bool = True
) -> SourceImages:
    """Return what resolves and fetches the images of a build.

    Unless *claim* is false, a prune keeps the images of the store that were found.

    Raises:
        FormatError: an option is invalid.
    """
    named = named_contexts(options.build_contexts).values()
    return SourceImages(
        store,
        progress,
        pull=options.pull,
        claim=claim,
        layouts=[each for each in named if isinstance(each, str) and is_layout(each)],
        access=replace(options.access, insecure=options.insecure or options.insecure_pull),
        mirrors=Mirrors.parse(
            options.registry_mirrors, options.registry_maps, fallback=options.registry_fallback
        ),
    )
