"""One-layer image archives, written without any engine, that `ctr images import` accepts.

Only for images that are a single static program; everything else is built from a Dockerfile.
"""

import hashlib
import io
import json
import platform
import tarfile
from pathlib import Path

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def _add(archive: tarfile.TarFile, name: str, content: bytes, mode: int = 0o644) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(content), mode
    archive.addfile(info, io.BytesIO(content))


def write_single_program(image: str, program: Path, archive_path: Path) -> None:
    """Write an image whose only file is `program`, its entry point, run as uid 65535."""
    layer_file = io.BytesIO()
    with tarfile.open(fileobj=layer_file, mode="w") as layer:
        _add(layer, program.name, program.read_bytes(), mode=0o755)
    layer_bytes = layer_file.getvalue()
    layer_digest = hashlib.sha256(layer_bytes).hexdigest()
    config = json.dumps(
        {
            "architecture": _ARCHITECTURES.get(platform.machine(), platform.machine()),
            "os": "linux",
            "config": {"Entrypoint": [f"/{program.name}"], "User": "65535:65535"},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer_digest}"]},
            "history": [{"created_by": "cluster.archives"}],
        }
    ).encode()
    config_name = f"{hashlib.sha256(config).hexdigest()}.json"
    layer_name = f"{layer_digest}/layer.tar"
    manifest = [{"Config": config_name, "RepoTags": [image], "Layers": [layer_name]}]
    with tarfile.open(archive_path, "w") as archive:
        _add(archive, layer_name, layer_bytes)
        _add(archive, config_name, config)
        _add(archive, "manifest.json", json.dumps(manifest).encode())
