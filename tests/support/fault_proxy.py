"""A proxy between operator and API server that answers some requests with an error of its own."""

from __future__ import annotations

import http.client
import json
import ssl
import subprocess
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

Fault = Callable[[str, str], int | None]
"""(method, path) → a status to answer with, or None to let the request through."""
HOP_BY_HOP = {"connection", "transfer-encoding", "keep-alive"}


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that hang up are part of the scenario."""


class FaultProxy:
    """TLS in, TLS out, one request per connection, so that each can be looked at."""

    def __init__(self, target_port: int, folder: Path, fault: Fault) -> None:
        self.answered: list[tuple[str, str, int]] = []
        """What was answered in the API server's place."""
        key, certificate = folder / "proxy.key", folder / "proxy.crt"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", str(key), "-out", str(certificate),
             "-days", "2", "-subj", "/CN=127.0.0.1"], check=True, capture_output=True,
        )  # fmt: skip
        outwards = ssl.create_default_context()
        outwards.check_hostname, outwards.verify_mode = False, ssl.CERT_NONE
        answered = self.answered

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def serve(self) -> None:
                self.close_connection = True
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                status = fault(self.command, self.path)
                if status is not None:
                    answered.append((self.command, self.path, status))
                    self._refuse(status)
                    return
                self._forward(body)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = serve  # noqa: N815 - http.server's names

            def _refuse(self, status: int) -> None:
                told = {"kind": "Status", "code": status, "message": "injected", "reason": "Injected"}
                body = json.dumps(told).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Connection", "close")
                self.end_headers()
                self.wfile.write(body)

            def _forward(self, body: bytes) -> None:
                server = http.client.HTTPSConnection("127.0.0.1", target_port, context=outwards)
                try:
                    headers = {n: v for n, v in self.headers.items() if n.lower() not in HOP_BY_HOP}
                    server.request(self.command, self.path, body or None, headers)
                    answer = server.getresponse()
                    self.send_response(answer.status)
                    for name, value in answer.getheaders():
                        if name.lower() not in HOP_BY_HOP:
                            self.send_header(name, value)
                    self.send_header("Connection", "close")
                    self.end_headers()
                    while part := answer.read1(65536):
                        self.wfile.write(part)
                except OSError:
                    return
                finally:
                    server.close()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
                """Say nothing: the operator's log is what is read."""

        inwards = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        inwards.load_cert_chain(certificate, key)
        self._server = _Server(("127.0.0.1", 0), Handler)
        self._server.socket = inwards.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.url = f"https://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
