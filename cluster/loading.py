"""Brings built images into a cluster, each one once a content key."""

from cluster import locks, records
from cluster.builders import Built
from cluster.workspaces import Provider, Workspace

_LOAD_SECONDS = 5


def load(workspace: Workspace, provider: Provider, built: Built) -> None:
    """Load the image unless this very content is there already."""
    reference = built.image.reference
    lock = workspace.layout.lock(workspace.name)
    with locks.exclusive(lock, doing=f"load image {built.image.name}", waits=True):
        record = workspace.known()
        if record.images.get(reference) == built.key:
            workspace.progress.note(f"{reference} is there already")
            return
        with workspace.progress.step(f"load {reference}", _LOAD_SECONDS):
            provider.load(reference, built.archive)
        if reference in record.images:
            workspace.progress.note(
                f"pods that run an earlier {reference} keep it until they are replaced"
            )
        # Read again: loading is long, and the record is not ours alone.
        records.save(workspace.state, workspace.known().with_image(reference, built.key))
