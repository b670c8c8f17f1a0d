"""A timestamp authority that is real: openssl's, on files or over HTTP on this machine."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

CONFIG = """\
[tsa]
serial = serial
signer_cert = tsa.pem
signer_key = tsa.key
default_policy = 1.2.3.4.1
digests = sha256
signer_digest = sha256
tsa_name = yes
ess_cert_id_alg = sha256
"""


@dataclass(frozen=True)
class Authority:
    """A folder with a root certificate, one that may sign timestamps, one that may not, and the configuration."""

    folder: Path

    @property
    def root(self) -> Path:
        return self.folder / "root.pem"

    def openssl(self, *arguments: str | Path, check: bool = True) -> bool:
        done = subprocess.run(["openssl", *arguments], cwd=self.folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0 or not check, done.stderr
        return done.returncode == 0

    def reply(self, request: Path, response: Path) -> None:
        self.openssl("ts", "-reply", "-queryfile", request, "-config", "tsa.cnf", "-section", "tsa", "-out", response)

    def verifies(self, data: Path, response: Path) -> bool:
        return self.openssl("ts", "-verify", "-data", data, "-in", response, "-CAfile", self.root, check=False)


def make_authority(folder: Path) -> Authority:
    made = Authority(folder)
    (made.folder / "tsa.cnf").write_text(CONFIG)
    (made.folder / "serial").write_text("01\n")
    (made.folder / "ext").write_text("extendedKeyUsage=critical,timeStamping\nkeyUsage=critical,digitalSignature\n")
    new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    for name in ("root", "other-root"):
        made.openssl(
            "req", "-x509", *new, "-keyout", f"{name}.key", "-out", f"{name}.pem", "-subj", f"/CN={name}", "-days", "30"
        )
    made.openssl("req", *new, "-keyout", "tsa.key", "-out", "tsa.csr", "-subj", "/CN=Test authority")
    made.openssl(
        "x509", "-req", "-in", "tsa.csr", "-CA", "root.pem", "-CAkey", "root.key", "-CAcreateserial", "-days", "30",
        "-extfile", "ext", "-out", "tsa.pem",
    )  # fmt: skip
    return made


class Handler(BaseHTTPRequestHandler):
    """Answers as RFC 3161 section 3.4 asks, with openssl's words."""

    authority: Authority
    answers: list[bytes]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert self.headers["Content-Type"] == "application/timestamp-query"
        request, response = self.authority.folder / "http.tsq", self.authority.folder / "http.tsr"
        request.write_bytes(body)
        if self.answers:
            answer = self.answers.pop()
        else:
            self.authority.reply(request, response)
            answer = response.read_bytes()
        self.send_response(200)
        self.send_header("Content-Type", "application/timestamp-reply")
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *arguments: object) -> None:
        pass


@contextmanager
def serve(authority: Authority, answers: list[bytes]) -> Iterator[str]:
    """Listen, and give the URL. What is in `answers` is answered first."""
    handler = type("Handler", (Handler,), {"authority": authority, "answers": answers})
    listening = HTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=listening.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.server_port}/"
    finally:
        listening.shutdown()
        thread.join()
        listening.server_close()
