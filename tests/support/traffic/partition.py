"""A network between operator and API server that can be cut: ``python partition.py TARGET_PORT PORT`` forwards TCP on loopback.

Cut, the forwarding process is stopped (SIGSTOP): connections stay open, new ones are never answered, nobody is told.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import subprocess
import sys
import time

from support.control_plane import free_port


class Partition:
    """Forwards until it is cut; then nothing comes through, in either direction, until it is mended."""

    def __init__(self, target_port: int) -> None:
        self._port = free_port()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "support.traffic.partition", str(target_port), str(self._port)],
            env={"PYTHONPATH": ":".join(sys.path)},
        )
        end = time.monotonic() + 60
        while not self._listens() and time.monotonic() < end:
            time.sleep(0.05)

    def _listens(self) -> bool:
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", self._port)) == 0

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self._port}"

    def cut(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def mend(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while part := await reader.read(65536):
            writer.write(part)
            await writer.drain()
    writer.close()


async def _serve(target: int, port: int) -> None:
    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", target)
        await asyncio.gather(_pass(reader, back), _pass(there, writer))

    server = await asyncio.start_server(accept, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), int(sys.argv[2])))
