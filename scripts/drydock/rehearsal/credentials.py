"""Certificates, keys and kubeconfigs of one rehearsal cluster, made for it alone and readable by its user alone."""

import base64
import datetime
import ipaddress
import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drydock.clusters.api import Access

SERVICE_ADDRESSES = "10.96.0.0/16"
_FIRST_SERVICE = ipaddress.ip_address("10.96.0.1")
_VALID = datetime.timedelta(days=7)
_SERVER_NAMES = ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")
_CLIENTS = {
    # name: (user, group), as the API server's built-in roles know them
    "admin": ("drydock-admin", "system:masters"),
    "kube-controller-manager": ("system:kube-controller-manager", ""),
    "kube-scheduler": ("system:kube-scheduler", ""),
    "kwok": ("kwok", "system:masters"),
    "karpenter": ("karpenter", "system:masters"),
}


@dataclass(frozen=True)
class Credentials:
    """The files of one cluster's credentials, all in one folder."""

    folder: Path

    @property
    def authority(self) -> Path:
        """Certificate that signed all others."""
        return self.folder / "ca.crt"

    @property
    def server_certificate(self) -> Path:
        """The API server's certificate."""
        return self.folder / "apiserver.crt"

    @property
    def server_key(self) -> Path:
        """Its key."""
        return self.folder / "apiserver.key"

    @property
    def caller_certificate(self) -> Path:
        """What the API server shows to webhooks and kubelets."""
        return self.folder / "caller.crt"

    @property
    def caller_key(self) -> Path:
        """Its key."""
        return self.folder / "caller.key"

    @property
    def metrics_token(self) -> Path:
        """What Karpenter asks for before it serves its metrics."""
        return self.folder / "metrics-token"

    @property
    def service_account_key(self) -> Path:
        """Signs and verifies tokens of service accounts."""
        return self.folder / "service-account.key"

    def access(self, server: str, client: str = "admin") -> Access:
        """Access to the API server at an address as one of the clients."""
        return Access(server, self.authority, self.folder / f"{client}.crt", self.folder / f"{client}.key")

    def kubeconfig(self, client: str) -> Path:
        """The kubeconfig of a client; written by `write_kubeconfigs`."""
        return self.folder / f"{client}.kubeconfig"


def create_credentials(folder: Path) -> Credentials:
    """Make an authority, the API server's certificate, the service-account key and one certificate for each client."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID

    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    credentials = Credentials(folder)
    signer = ec.generate_private_key(ec.SECP256R1())
    authority = _certificate("drydock-rehearsal", "", signer, None, signer, [])
    _write(credentials.authority, _pem(authority))
    _write(credentials.metrics_token, secrets.token_hex(32).encode())
    _write(credentials.service_account_key, _key_pem(ec.generate_private_key(ec.SECP256R1())))
    addresses = (ipaddress.ip_address("127.0.0.1"), _FIRST_SERVICE)
    names = [x509.DNSName(name) for name in _SERVER_NAMES] + [x509.IPAddress(address) for address in addresses]
    issued = {"apiserver": ("kube-apiserver", "", ExtendedKeyUsageOID.SERVER_AUTH, names)}
    issued["caller"] = ("kube-apiserver", "", ExtendedKeyUsageOID.CLIENT_AUTH, [])
    for name, (user, group) in _CLIENTS.items():
        issued[name] = (user, group, ExtendedKeyUsageOID.CLIENT_AUTH, [])
    for name, (user, group, usage, subjects) in issued.items():
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _certificate(user, group, key, authority, signer, subjects, usage)
        _write(folder / f"{name}.crt", _pem(certificate))
        _write(folder / f"{name}.key", _key_pem(key))
    return credentials


def write_kubeconfigs(credentials: Credentials, server: str) -> None:
    """Write every client's kubeconfig, complete in itself and with mode 0600."""
    for client in _CLIENTS:
        access = credentials.access(server, client)
        _write(credentials.kubeconfig(client), json.dumps(_kubeconfig(access, client), indent=1).encode())


def _kubeconfig(access: Access, client: str) -> dict[str, Any]:
    def encoded(file: Path) -> str:
        return base64.b64encode(file.read_bytes()).decode()

    user = {"client-certificate-data": encoded(access.certificate), "client-key-data": encoded(access.key)}
    cluster = {"server": access.server, "certificate-authority-data": encoded(access.authority)}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "drydock", "cluster": cluster}],
        "users": [{"name": client, "user": user}],
        "contexts": [{"name": "drydock", "context": {"cluster": "drydock", "user": client}}],
        "current-context": "drydock",
    }


def _certificate(
    user: str, group: str, key: Any, issuer: Any | None, signer: Any, subjects: list[Any], usage: Any | None = None
) -> Any:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import NameOID

    parts = [x509.NameAttribute(NameOID.COMMON_NAME, user)]
    if group:
        parts.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, group))
    subject = x509.Name(parts)
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + _VALID)
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .add_extension(_key_usage(authority=issuer is None), critical=True)
    )
    if usage:
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    if subjects:
        builder = builder.add_extension(x509.SubjectAlternativeName(subjects), critical=False)
    return builder.sign(signer, hashes.SHA256())


def _key_usage(*, authority: bool) -> Any:
    """Python 3.13 and newer refuse an authority without it."""
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: Any) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return bytes(certificate.public_bytes(Encoding.PEM))


def _key_pem(key: Any) -> bytes:
    """In the one format (EC PRIVATE KEY) that the API server also takes a public key from."""
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return bytes(key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()))


def _write(file: Path, content: bytes) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as output:
        output.write(content)
