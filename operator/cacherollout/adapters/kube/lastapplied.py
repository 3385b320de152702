"""What client-side apply remembers: the annotation from which it knows which fields to remove.

Pure. After a restore it must say of the template what it said when that template was kept;
otherwise the next `kubectl apply` would leave fields behind that the restored template has and the
applied manifest has not.
"""

import json
from typing import Any, Final

from cacherollout.adapters.kube.resources import Manifest

ANNOTATION: Final = "kubectl.kubernetes.io/last-applied-configuration"


def template_in(manifest: Manifest) -> Manifest | None:
    """The pod template as last applied; None where the object is not applied from the client."""
    template = (_read(manifest) or {}).get("spec", {}).get("template")
    return template if isinstance(template, dict) else None


def with_template(manifest: Manifest, template: Manifest | None) -> str | None:
    """The annotation's new value, with this template in it; None where it has to stay as it is."""
    applied = _read(manifest)
    if applied is None or template is None:
        return None
    applied["spec"]["template"] = template
    return json.dumps(applied, separators=(",", ":")) + "\n"


def _read(manifest: Manifest) -> dict[str, Any] | None:
    text = (manifest["metadata"].get("annotations") or {}).get(ANNOTATION)
    try:
        applied = json.loads(text) if text else None
    except ValueError:
        # Somebody wrote it by hand; kubectl will refuse it, and it is theirs to mend.
        return None
    is_usable = isinstance(applied, dict) and isinstance(applied.get("spec"), dict)
    return applied if is_usable else None
