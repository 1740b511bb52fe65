"""A server of the fixture with its port for HTTP, as one thing to start and to stop. For any thread."""

from collections.abc import Collection
from typing import Any

from mailserver.testing.http.control import BASE, ControlledServers
from mailserver.testing.http.site import ControlSite
from mailserver.testing.http.views import server_view
from mailserver.testing.server import MailServer


class FixtureProgram:
    """``server`` is the first server. ``url`` is that of the program, ``http://HOST:PORT``."""

    def __init__(
        self,
        server: MailServer,
        host: str = "127.0.0.1",
        port: int = 0,
        allowed_hosts: Collection[str] = (),
    ) -> None:
        """``host`` and ``port`` are those of HTTP; 0 is a free port. ``allowed_hosts`` are names in the Host
        field, beside IP addresses and localhost."""
        self.server = server
        self.url = ""
        self._where = host, port
        self._names = allowed_hosts

    def start(self) -> None:
        """Bind all ports. Raises CannotStart; then none is bound."""
        self.server.start()
        thread = self.server.thread
        self._servers = ControlledServers(self.server)
        self._site = ControlSite(thread.reactor, self._servers, self._names)
        try:
            host, port = thread.call(self._site.start, *self._where)
        except BaseException:
            self.server.stop()
            raise
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{port}"

    def stop(self) -> None:
        """Reset all connections, free all ports."""
        thread = self.server.thread
        thread.run(self._site.stop())
        thread.run(self._servers.stop())

    @property
    def api(self) -> str:
        """The URL of the API."""
        return self.url + BASE

    def listeners(self) -> list[dict[str, Any]]:
        """The listeners of the first server."""
        listeners: list[dict[str, Any]] = server_view(self._servers.servers["default"])["listeners"]
        return listeners
