"""Real PostgreSQL and RabbitMQ servers for the tests in this folder, run by scripts/dev-servers.sh, and a TCP proxy that
fails as networks do. Servers end with the test, and also when the test dies: a process beside it watches."""

import os
import select
import shutil
import socket
import struct
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "dev-servers.sh"
PATIENCE_S = 240  # for anything to happen, also under sanitizers


def through(url, proxy):
    """The same URL, by way of the proxy."""
    parts = urlsplit(url)
    user = parts.netloc.rpartition("@")[0]
    return parts._replace(netloc=f"{user}@127.0.0.1:{proxy.port}").geturl()


class Servers:
    """A pair of its own, to be used with `with`:

        with Servers() as servers:
            Server(folder, "--store", servers.store_url, "--bus", servers.bus_url)
            servers.kill("rabbitmq")
            servers.start("rabbitmq")

    `values` holds all that `dev-servers.sh up` prints. Every method returns when the thing is done and raises
    AssertionError, with the script's words, when it fails. `server` is "postgres" or "rabbitmq".
    """

    def __init__(self, only=None):
        self.only = only
        self.directory = None
        self.values = {}

    def __enter__(self):
        self.directory = tempfile.mkdtemp(prefix="wfo-servers-")
        try:
            lines = self._run("up", "--while-parent", *(["--only", self.only] if self.only else []))
        except BaseException:
            self.__exit__()
            raise
        self.values = dict(line.split("=", 1) for line in lines.splitlines())
        return self

    def __exit__(self, *_):
        self._run("down", "--delete")
        shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def store_url(self):
        return self.values["WFO_STORE_URL"]

    @property
    def ledger_url(self):
        """Another database with another role."""
        return self.values["DEV_POSTGRES_LEDGER_URL"]

    @property
    def bus_url(self):
        return self.values["WFO_BUS_URL"]

    @property
    def postgres_port(self):
        return int(self.values["DEV_POSTGRES_PORT"])

    @property
    def rabbitmq_port(self):
        return int(self.values["DEV_RABBITMQ_PORT"])

    def pid(self, server):
        """The server's first process: PostgreSQL's postmaster, RabbitMQ's beam."""
        return int(Path(self.values[f"DEV_{server.upper()}_PID_FILE"]).read_text(encoding="ascii"))

    def start(self, server):
        """Again, on the same port with the same data; returns when it answers."""
        self._run("start", server)

    def stop(self, server, mode=None):
        """In good order. `mode` is PostgreSQL's: smart (waits for its clients), fast, immediate (as a crash)."""
        self._run("stop", server, *(["--mode", mode] if mode else []))

    def kill(self, server):
        """kill -9 of all its processes."""
        self._run("kill", server)

    def pause(self, server):
        """SIGSTOP to all its processes: connections stay, nothing is answered."""
        self._run("pause", server)

    def resume(self, server):
        self._run("resume", server)

    def psql(self, query, database="wfo"):
        """The rows of the last statement, each a list of texts (NULL is None), as superuser."""
        null, column, row = "\x1c", "\x1f", "\x1e"
        text = self._run("psql", "--", "--quiet", "--no-align", "--tuples-only", "--set=ON_ERROR_STOP=1",
                         f"--pset=null={null}", f"--field-separator={column}", f"--record-separator={row}",
                         f"--dbname={database}", "--command", query)
        text = text.removesuffix("\n").removesuffix(row)
        if not text:
            return []
        return [[None if value == null else value for value in line.split(column)] for line in text.split(row)]

    def rabbitmqctl(self, *arguments):
        """What it prints; takes about half a second."""
        return self._run("rabbitmqctl", "--", "--quiet", *map(str, arguments))

    def queues(self):
        """{name: messages, those not yet acknowledged included}"""
        lines = self.rabbitmqctl("--no-table-headers", "list_queues", "name", "messages").splitlines()
        return {name: int(messages) for name, messages in (line.rsplit("\t", 1) for line in lines)}

    def block_publishers(self, block=True):
        """Raises RabbitMQ's memory alarm, which makes it send connection.blocked to publishers and read no more from
        them; or clears it."""
        self.rabbitmqctl("set_vm_memory_high_watermark", "0.000001" if block else "0.4")

    def _run(self, command, *arguments):
        mark = arguments.index("--") if "--" in arguments else len(arguments)
        line = [str(SCRIPT), command, *arguments[:mark], "--directory", self.directory, *arguments[mark:]]
        done = subprocess.run(line, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        if done.returncode != 0:
            raise AssertionError(f"{' '.join(line)}: exit code {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
        return done.stdout


TO_SERVER, TO_CLIENT = "to_server", "to_client"


class TcpProxy:
    """Stands between a client and 127.0.0.1:`target_port`, and fails on demand:

        with TcpProxy(servers.postgres_port) as proxy:
            url = through(servers.store_url, proxy)
            proxy.swallow(TO_CLIENT)     # the server does what it is asked, and its answers are lost ...
            proxy.cut()                  # ... and then the connection, with a reset

    All methods may be called at any time from any thread; they hold for the connections that are there and, but for
    cut(), for later ones. A connection is cut with RST at both ends, as by a machine that lost its power or a firewall
    that forgot the connection.
    """

    def __init__(self, target_port):
        self.target_port = target_port
        self.port = None
        self.passed = {TO_SERVER: 0, TO_CLIENT: 0}  # bytes that were handed on, all connections together
        self.swallowed = {TO_SERVER: 0, TO_CLIENT: 0}
        self.accepted = 0
        self._lock = threading.Lock()  # guards all below and the counters above
        self._listener = None
        self._links = set()
        self._swallowing = {TO_SERVER: False, TO_CLIENT: False}
        self._cut_after = {TO_SERVER: None, TO_CLIENT: None}
        self._delay_s = 0.0
        self._closed = False
        self._accepter = None

    def __enter__(self):
        self._listen(0)
        return self

    def __exit__(self, *_):
        self._closed = True
        self.refuse()
        self.cut()

    def connections(self):
        with self._lock:
            return len(self._links)

    def cut(self):
        """Resets all connections now; new ones are welcome. Returns how many there were."""
        with self._lock:
            links, self._links = self._links, set()
        for link in links:
            link.reset()
        return len(links)

    def refuse(self):
        """New connections are refused, as by a server that is not there; those that are stay."""
        with self._lock:
            listener, self._listener = self._listener, None
        if listener:
            listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
            listener.close()
            self._accepter.join(PATIENCE_S)

    def accept(self):
        """The opposite of refuse(), on the same port."""
        if self._listener is None:
            self._listen(self.port)

    def swallow(self, direction, on=True):
        """Bytes in this direction are read and thrown away. What was thrown away is gone: pass on again only after a
        cut(), since what follows would not make sense to the other side."""
        with self._lock:
            self._swallowing[direction] = on

    def delay(self, seconds):
        """Every piece of data, in both directions, is handed on that much later."""
        with self._lock:
            self._delay_s = seconds

    def cut_after(self, size, direction):
        """Once `size` more bytes have passed in this direction, not one more: the connection that would pass more is
        reset there. For the next time only; None: not any more."""
        with self._lock:
            self._cut_after[direction] = size

    def heal(self):
        """Everything passes again, at once, and new connections are welcome."""
        with self._lock:
            self._swallowing = {TO_SERVER: False, TO_CLIENT: False}
            self._cut_after = {TO_SERVER: None, TO_CLIENT: None}
            self._delay_s = 0.0
        self.accept()

    def _listen(self, port):
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(128)
        self.port = listener.getsockname()[1]
        self._accepter = threading.Thread(target=self._accept, args=(listener,), daemon=True)
        with self._lock:
            self._listener = listener
        self._accepter.start()

    def _accept(self, listener):
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self.target_port), timeout=PATIENCE_S)
            except OSError:
                reset(client)  # as near to a refusal as one can come after accepting
                continue
            link = _Link(self, client, server)
            with self._lock:
                self.accepted += 1
                self._links.add(link)
            link.start()
            if self._closed:
                self.cut()

    def _hand_on(self, direction, data):
        """What of `data` is to be handed on now, and whether the connection is to be reset after that."""
        with self._lock:
            if self._swallowing[direction]:
                self.swallowed[direction] += len(data)
                return b"", False
            left = self._cut_after[direction]
            cut = left is not None and len(data) > left
            if cut:
                data = data[:left]
                self._cut_after[direction] = None
            elif left is not None:
                self._cut_after[direction] = left - len(data)
            self.passed[direction] += len(data)
            return data, cut

    def _forget(self, link):
        with self._lock:
            self._links.discard(link)


def reset(connection):
    """Closes with RST instead of FIN: what was not yet delivered is lost."""
    try:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
    except OSError:
        pass


class _Link:
    """One connection through the proxy: a thread for each direction, each the only writer of one socket."""

    def __init__(self, proxy, client, server):
        self.proxy = proxy
        self.sockets = {TO_SERVER: (client, server), TO_CLIENT: (server, client)}
        self.wake, self.wake_end = os.pipe()  # closed sockets do not wake select()
        self.lock = threading.Lock()  # guards the two below
        self.ended = False
        self.directions_left = 2
        for one in (client, server):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            one.settimeout(None)

    def start(self):
        for direction in self.sockets:
            threading.Thread(target=self._pump, args=(direction,), daemon=True).start()

    def reset(self):
        with self.lock:
            if self.ended:
                return
            self.ended = True
            os.write(self.wake_end, b"x")
            client, server = self.sockets[TO_SERVER]
            for one in (client, server):
                try:  # wakes a thread that waits in sendall(), and sends no FIN: the RST of close() comes first
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                except OSError:
                    pass
            reset(client)
            reset(server)
        self.proxy._forget(self)

    def _pump(self, direction):
        source, sink = self.sockets[direction]
        try:
            while True:
                readable, _, _ = select.select([source, self.wake], [], [])
                if self.wake in readable:
                    return
                data = source.recv(65536)
                if not data:
                    sink.shutdown(socket.SHUT_WR)
                    return
                if self.proxy._delay_s:
                    time.sleep(self.proxy._delay_s)
                data, cut = self.proxy._hand_on(direction, data)
                if data:
                    sink.sendall(data)
                if cut:
                    self.reset()
                    return
        except (OSError, ValueError):  # ValueError: select() on a socket that reset() has closed
            self.reset()
        finally:
            self._leave()

    def _leave(self):
        with self.lock:
            self.directions_left -= 1
            if self.directions_left:
                return
            if not self.ended:
                self.ended = True
                for one in self.sockets[TO_SERVER]:
                    one.close()
            os.close(self.wake)
            os.close(self.wake_end)
        self.proxy._forget(self)
