"""https: the same answers, and certificates that do not verify are refused."""

import datetime
import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from drydock.errors import DrydockError, UsageError
from drydock.loadtest.generator import generate
from drydock.loadtest.preflight import check
from drydock.loadtest.records import Run
from drydock.loadtest.settings import Constant, Lengths, LoadPlan, Stage, Target, Workload
from tests.loadtest.servers import misbehaving_server

pytestmark = pytest.mark.programs


@dataclass(frozen=True)
class Server:
    """A running one and the file of its certificate."""

    url: str
    certificate: Path


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    file = tmp_path_factory.mktemp("tls") / "server.pem"
    file.write_bytes(certificate())
    with misbehaving_server(file) as url:
        yield Server(url, file)


def certificate() -> bytes:
    """Self-signed, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "loadtest")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(address, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private + made.public_bytes(serialization.Encoding.PEM)


def run(url: str, *, verify: bool = True, ca_file: Path | None = None) -> Run:
    # a prompt that the kernel does not take at once
    workload = Workload("large", Lengths("fixed", 200_000), Lengths("fixed", 5))
    return generate(LoadPlan(Target(url, "ok", verify_tls=verify, ca_file=ca_file), workload, Stage(Constant(10), 0.5)))


def test_a_certificate_that_is_trusted_serves(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(server.certificate))

    records = run(server.url).records

    assert records.counts() == {"ok": 5}
    assert set(records.output_tokens) == {5}
    assert set(records.chunks) == {5}


def test_a_file_of_certificates_is_trusted(server: Server, tmp_path: Path) -> None:
    pem = server.certificate.read_text()
    (tmp_path / "ca.pem").write_text(pem[pem.index("-----BEGIN CERTIFICATE") :])
    (tmp_path / "none.pem").write_text("no certificate")

    assert run(server.url, ca_file=tmp_path / "ca.pem").records.counts() == {"ok": 5}
    with pytest.raises(UsageError, match="holds no certificates"):
        check(Target(server.url, "ok", ca_file=tmp_path / "none.pem"))
    with pytest.raises(DrydockError, match="no server answers") as caught:
        check(Target(server.url, "ok"))
    assert "--ca-file" in str(caught.value)


def test_a_certificate_that_is_not_is_counted(server: Server) -> None:
    assert run(server.url).records.counts() == {"tls error": 5}


def test_a_certificate_need_not_be_looked_at(server: Server) -> None:
    assert run(server.url, verify=False).records.counts() == {"ok": 5}
