"""TLS before a simulated site; its certificate can be swapped, in the middle of a night, for one that nobody trusts."""

from __future__ import annotations

import datetime as dt
import ipaddress
import socket
import ssl
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class TlsFront:
    """Passes on to a port of this machine what arrives over TLS on its own."""

    def __init__(self, port: int, folder: Path) -> None:
        self.behind = port
        self.trusted = _certificate(folder / "trusted.pem")
        """The certificate to trust, as a file."""
        self._good = _context(self.trusted)
        self._context = self._good
        self._other = _context(_certificate(folder / "stranger.pem"))
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        """The address to speak to."""
        return f"https://127.0.0.1:{self._listening.getsockname()[1]}"

    def spoil(self) -> None:
        """Show a certificate from now on that nobody trusts, and end the connections there are."""
        self._context = self._other
        self._hang_up()

    def mend(self) -> None:
        """Show the trusted certificate again."""
        self._context = self._good

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listening.close()
        self._hang_up()

    def _hang_up(self) -> None:
        with self._lock:
            for one in self._open:
                _end(one)
            self._open.clear()

    def _accept(self) -> None:
        while True:
            try:
                plain, _ = self._listening.accept()
            except OSError:
                return  # closed
            threading.Thread(target=self._serve, args=(plain,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        try:
            outside = self._context.wrap_socket(plain, server_side=True)
        except OSError:
            plain.close()  # whoever called did not trust the certificate, which is what it is for
            return
        inside = socket.create_connection(("127.0.0.1", self.behind))
        with self._lock:
            self._open |= {outside, inside}
        back = threading.Thread(target=_pass_on, args=(inside, outside), daemon=True)
        back.start()
        _pass_on(outside, inside)
        back.join()
        with self._lock:
            self._open -= {outside, inside}
        outside.close()
        inside.close()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    """Pass bytes on until one of the two ends."""
    try:
        while data := source.recv(65_536):
            target.sendall(data)
    except OSError:
        pass  # one of the two is gone: the other is told below
    _end(target)
    _end(source)


def _end(one: socket.socket) -> None:
    try:
        one.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # it had ended already


def _certificate(path: Path) -> Path:
    """Write a certificate for this machine's own address, signed by itself, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, path.stem)])
    today = dt.datetime.now(dt.UTC)
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - dt.timedelta(days=1))
        .not_valid_after(today + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(secret + made.public_bytes(serialization.Encoding.PEM))
    return path


def _context(path: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context
