"""Names of Services for the pods of the node of the tests: dnsmasq, told by the API server what there is."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time

from support.control_plane import ControlPlane

DOMAIN = "cluster.local"
TEMPLATE = f'{{.spec.clusterIP}} {{.metadata.name}}.{{.metadata.namespace}}.svc.{DOMAIN}{{"\\n"}}'
# A file per name: dnsmasq reads what is new in the folder as soon as it is closed.
FOLLOW = 'folder="$1"; shift; "$@" | while read -r address name; do echo "$address $name" > "$folder/$name"; done'


class Names:
    """A name server on one address of this machine; end it with ``stop``."""

    def __init__(self, plane: ControlPlane, address: str) -> None:
        self._plane, self._address = plane, address
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Start it and wait until it takes connections.

        Raises:
            RuntimeError: it has ended; with what it said.
        """
        folder = self._plane.root / "names"
        folder.mkdir()
        watch = [*self._plane.command(), "get", "services", "-A", "--watch", "-o", f"jsonpath={TEMPLATE}"]
        self._run("sh", "-c", FOLLOW, "sh", str(folder), *watch)
        self._run(
            "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--pid-file=", "--user=root", "--no-resolv", "--no-hosts",
            f"--listen-address={self._address}", "--bind-interfaces", f"--local=/{DOMAIN}/", f"--hostsdir={folder}",
        )  # fmt: skip
        end, server = time.monotonic() + 30, self._processes[-1]
        while not self._answers():
            if server.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"no name server: {(self._plane.root / 'names.log').read_text()[-2000:]}")
            time.sleep(0.1)

    def _answers(self) -> bool:
        try:
            socket.create_connection((self._address, 53), 1.0).close()
        except OSError:
            return False
        return True

    def stop(self) -> None:
        for process in self._processes:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _run(self, *command: str) -> None:
        with (self._plane.root / "names.log").open("ab") as log:
            tied = ["setpriv", "--pdeathsig", "KILL", *command]
            self._processes.append(subprocess.Popen(tied, stdout=log, stderr=log, start_new_session=True))
