"""Certificates and kubeconfigs of one node, made with openssl, valid for a year."""

import base64
import json
from dataclasses import dataclass
from pathlib import Path

from cluster.commands import run
from cluster.native.subnets import Subnets

VALID_DAYS = 365
_CURVE = ("-pkeyopt", "ec_paramgen_curve:P-256")
_NEW_KEY = ("-newkey", "ec", *_CURVE, "-nodes")


@dataclass(frozen=True, slots=True)
class Certificate:
    """What one certificate says; `authority` is the file name of who signs it."""

    name: str
    subject: str
    alternative_names: tuple[str, ...]
    authority: str = "ca"


AUTHORITIES = ("ca", "front-proxy-ca")
KUBECONFIGS = ("admin", "kubelet", "scheduler", "controller-manager", "proxy", "dns")


def certificates(node: str, subnets: Subnets) -> tuple[Certificate, ...]:
    """All certificates of a node, under the user names that Kubernetes' own roles are bound to."""
    cluster_names = (
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "localhost",
        node,
    )
    addresses = ("127.0.0.1", str(subnets.node_address), str(subnets.kubernetes_address))
    server_names = tuple(f"DNS:{name}" for name in cluster_names) + tuple(
        f"IP:{address}" for address in addresses
    )
    kubelet_names = (f"DNS:{node}", f"IP:{subnets.node_address}")

    def user(name: str, subject: str) -> Certificate:
        return Certificate(name, subject, (f"DNS:{name}",))

    return (
        Certificate("apiserver", "/CN=kube-apiserver", server_names),
        Certificate("kubelet", f"/O=system:nodes/CN=system:node:{node}", kubelet_names),
        user("admin", "/O=system:masters/CN=admin"),
        user("scheduler", "/CN=system:kube-scheduler"),
        user("controller-manager", "/CN=system:kube-controller-manager"),
        user("proxy", "/CN=system:kube-proxy"),
        user("dns", "/CN=system:dns"),
        Certificate("front-proxy", "/CN=front-proxy", ("DNS:front-proxy",), "front-proxy-ca"),
    )


def _openssl(folder: Path, *arguments: str) -> None:
    run(["openssl", *arguments], folder=folder)


def write(folder: Path, node: str, subnets: Subnets) -> None:
    """Write keys, certificates and kubeconfigs into `folder`, readable by the owner alone."""
    folder.mkdir(mode=0o700)
    days = ("-days", str(VALID_DAYS))
    for name in AUTHORITIES:
        files = ("-keyout", f"{name}.key", "-out", f"{name}.crt")
        _openssl(folder, "req", "-x509", *_NEW_KEY, *days, *files, "-subj", f"/CN={name}")
    for certificate in certificates(node, subnets):
        _sign(folder, certificate)
    _openssl(folder, "genpkey", "-algorithm", "EC", *_CURVE, "-out", "sa.key")
    _openssl(folder, "pkey", "-in", "sa.key", "-pubout", "-out", "sa.pub")
    for user in KUBECONFIGS:
        content = json.dumps(kubeconfig(folder, node, user, subnets), indent=1)
        (folder / f"{user}.kubeconfig").write_text(content, encoding="utf-8")


def _sign(folder: Path, certificate: Certificate) -> None:
    name, authority = certificate.name, certificate.authority
    extensions = folder / f"{name}.ext"
    extensions.write_text(
        f"subjectAltName={','.join(certificate.alternative_names)}\n"
        "extendedKeyUsage=serverAuth,clientAuth\n",
        encoding="utf-8",
    )
    request = ("-keyout", f"{name}.key", "-out", f"{name}.csr")
    _openssl(folder, "req", *_NEW_KEY, *request, "-subj", certificate.subject)
    signer = ("-CA", f"{authority}.crt", "-CAkey", f"{authority}.key", "-CAcreateserial")
    files = ("-in", f"{name}.csr", "-out", f"{name}.crt", "-extfile", extensions.name)
    _openssl(folder, "x509", "-req", *files, *signer, "-days", str(VALID_DAYS))


def kubeconfig(folder: Path, node: str, user: str, subnets: Subnets) -> dict[str, object]:
    """A self-contained kubeconfig (JSON is YAML): it can be copied anywhere on this machine."""

    def embedded(file: str) -> str:
        return base64.b64encode((folder / file).read_bytes()).decode()

    server = f"https://{subnets.node_address}:6443"
    authority = {"server": server, "certificate-authority-data": embedded("ca.crt")}
    credentials = {
        "client-certificate-data": embedded(f"{user}.crt"),
        "client-key-data": embedded(f"{user}.key"),
    }
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": node, "cluster": authority}],
        "users": [{"name": user, "user": credentials}],
        "contexts": [{"name": node, "context": {"cluster": node, "user": user}}],
        "current-context": node,
    }
