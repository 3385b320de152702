"""Connection details for a client of another kind: the watches have a client of their own."""

from dataclasses import dataclass

from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config import ConfigException, load_incluster_config, load_kube_config

from cacherollout.api.reasons import Reason
from cacherollout.ports.errors import DependencyError


@dataclass(frozen=True, slots=True)
class Login:
    """Where the API server is and how to be let in. Files are paths; the token is secret."""

    server: str
    ca_path: str | None
    certificate_path: str | None
    private_key_path: str | None
    token: str | None
    is_verified: bool

    def __repr__(self) -> str:
        return f"Login(server={self.server!r})"


async def log_in(path: str | None = None, context: str | None = None) -> Login:
    """As a kubeconfig says, or without one as the pod's service account; read anew every time.

    Raises DependencyError where there is neither.
    """
    configuration = Configuration()
    try:
        if path is None:
            load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        else:
            await load_kube_config(  # type: ignore[no-untyped-call]
                config_file=path,
                context=context,
                client_configuration=configuration,
                persist_config=False,
            )
        token = await configuration.get_api_key_with_prefix("BearerToken")
    except (ConfigException, OSError) as error:
        raise DependencyError(
            Reason.API_UNAVAILABLE, f"No way to log in to the API server: {error}"
        ) from error
    return Login(
        server=configuration.host,
        ca_path=configuration.ssl_ca_cert,
        certificate_path=configuration.cert_file,
        private_key_path=configuration.key_file,
        token=token.split()[-1] if token else None,
        is_verified=configuration.verify_ssl,
    )
