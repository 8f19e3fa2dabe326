"""The servers and the proxy that other tests in this folder rely on do what they promise."""

import contextlib
import os
import socket
import subprocess
import threading
import unittest
from pathlib import Path

from servers import PATIENCE_S, TO_CLIENT, TO_SERVER, Servers, TcpProxy, through


class Echo:
    """Sends back what comes, and counts it."""

    def __enter__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.received = 0
        self.ends = []  # how each connection ended: "end" or the name of the error
        self.changed = threading.Condition()
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError):  # closed already
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def wait(self, condition):
        with self.changed:
            assert self.changed.wait_for(condition, PATIENCE_S)

    def _accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        end = "end"
        with connection:
            try:
                while data := connection.recv(65536):
                    with self.changed:
                        self.received += len(data)
                        self.changed.notify_all()
                    connection.sendall(data)
            except OSError as error:
                end = type(error).__name__
        with self.changed:
            self.ends.append(end)
            self.changed.notify_all()


def connect(proxy):
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=PATIENCE_S)


def receive(connection, size):
    data = b""
    while len(data) < size and (part := connection.recv(size - len(data))):
        data += part
    return data


class Proxy(unittest.TestCase):
    def setUp(self):
        self.echo = self.enterContext(Echo())
        self.proxy = self.enterContext(TcpProxy(self.echo.port))

    def connect(self):
        connection = connect(self.proxy)
        self.addCleanup(connection.close)
        return connection

    def test_everything_passes_until_something_is_to_fail(self):
        connection = self.connect()
        sent = os.urandom(3_000_000)
        writer = threading.Thread(target=connection.sendall, args=(sent,))
        writer.start()
        self.assertEqual(receive(connection, len(sent)), sent)
        writer.join()
        self.assertEqual(self.proxy.passed, {TO_SERVER: len(sent), TO_CLIENT: len(sent)})
        connection.shutdown(socket.SHUT_WR)
        self.assertEqual(connection.recv(1), b"")
        self.echo.wait(lambda: self.echo.ends == ["end"])

    def test_a_cut_resets_both_ends_and_new_connections_are_welcome(self):
        connection = self.connect()
        connection.sendall(b"hello")
        self.assertEqual(receive(connection, 5), b"hello")
        self.assertEqual(self.proxy.cut(), 1)
        with self.assertRaises(ConnectionResetError):
            connection.recv(1)
        self.echo.wait(lambda: self.echo.ends == ["ConnectionResetError"])
        again = self.connect()
        again.sendall(b"again")
        self.assertEqual(receive(again, 5), b"again")

    def test_new_connections_are_refused_and_accepted_again_on_the_same_port(self):
        old = self.connect()
        old.sendall(b"old")
        self.assertEqual(receive(old, 3), b"old")
        self.proxy.refuse()
        with self.assertRaises(ConnectionRefusedError):
            self.connect()
        old.sendall(b"old")
        self.assertEqual(receive(old, 3), b"old")
        self.proxy.accept()
        new = self.connect()
        new.sendall(b"new")
        self.assertEqual(receive(new, 3), b"new")

    def test_swallowed_answers_are_lost_though_the_work_was_done(self):
        connection = self.connect()
        self.proxy.swallow(TO_CLIENT)
        connection.sendall(b"commit")
        self.echo.wait(lambda: self.echo.received == 6)
        while self.proxy.swallowed[TO_CLIENT] < 6:
            threading.Event().wait(0.001)
        self.proxy.cut()
        with self.assertRaises(ConnectionResetError):
            connection.recv(1)
        self.assertEqual(self.proxy.passed, {TO_SERVER: 6, TO_CLIENT: 0})

    def test_swallowed_requests_never_arrive(self):
        connection = self.connect()
        self.proxy.swallow(TO_SERVER)
        connection.sendall(b"request")
        while self.proxy.swallowed[TO_SERVER] < 7:
            threading.Event().wait(0.001)
        self.assertEqual(self.echo.received, 0)

    def test_a_connection_is_cut_after_exactly_so_many_bytes_once(self):
        self.proxy.cut_after(5, TO_SERVER)
        connection = self.connect()
        connection.sendall(b"12345")
        self.assertEqual(receive(connection, 5), b"12345")
        connection.sendall(b"6")
        with self.assertRaises(ConnectionResetError):
            connection.recv(1)
        self.echo.wait(lambda: len(self.echo.ends) == 1)
        self.assertEqual(self.echo.received, 5)
        again = self.connect()
        again.sendall(b"123456789")
        self.assertEqual(receive(again, 9), b"123456789")

    def test_a_server_that_is_not_there_is_a_reset(self):
        self.echo.__exit__()
        with self.assertRaises(ConnectionResetError):
            self.connect().recv(1)
        self.assertEqual(self.proxy.connections(), 0)

    def test_what_is_delayed_arrives(self):
        self.proxy.delay(0.05)
        connection = self.connect()
        connection.sendall(b"late")
        self.assertEqual(receive(connection, 4), b"late")
        self.proxy.heal()


def pids_that_name(folder):
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            text = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
            text += os.fsencode(os.readlink(process / "cwd"))
        except OSError:
            continue
        if os.fsencode(folder) in text:
            found.append(process.name)
    return found


class RealServers(unittest.TestCase):
    def test_they_stop_and_start_with_their_data_and_leave_nothing(self):
        with Servers() as servers:
            folder = servers.directory
            servers.psql("CREATE TABLE kept AS SELECT 1 AS a, NULL AS b, 'x' || chr(10) || '|' AS c")
            declare = 'rabbit_amqqueue:declare(rabbit_misc:r(<<"/">>, queue, <<"kept queue">>), true, false, [], none, <<"">>)'
            self.assertEqual(servers.rabbitmqctl("eval", f"{declare}, ok."), "ok\n")
            for end in (servers.kill, servers.stop):
                for server in ("postgres", "rabbitmq"):
                    end(server)
                    with self.assertRaises(ConnectionRefusedError):
                        socket.create_connection(("127.0.0.1", getattr(servers, f"{server}_port")))
                    servers.start(server)
                self.assertEqual(servers.psql("SELECT * FROM kept"), [["1", None, "x\n|"]])
                self.assertEqual(servers.queues(), {"kept queue": 0})
            self.assertEqual(servers.psql("SELECT 1 WHERE false"), [])
            with self.assertRaisesRegex(AssertionError, "does not exist"):
                servers.psql("SELECT * FROM nothing")
            for server in ("postgres", "rabbitmq"):
                servers.pause(server)
                state = Path(f"/proc/{servers.pid(server)}/stat").read_text(encoding="ascii").rpartition(") ")[2][0]
                self.assertEqual(state, "T")
                servers.resume(server)
            self.assertEqual(servers.psql("SELECT 2"), [["2"]])
            self.assertTrue(pids_that_name(folder))
        self.assertEqual(pids_that_name(folder), [])
        self.assertFalse(Path(folder).exists())

    def test_a_commit_whose_answer_is_lost_is_in_the_database(self):
        with Servers("postgres") as servers, TcpProxy(servers.postgres_port) as proxy:
            servers.psql("CREATE TABLE written (a int); GRANT ALL ON written TO wfo")
            with subprocess.Popen(["/usr/lib/postgresql/15/bin/psql", "--no-psqlrc", through(servers.store_url, proxy)],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as psql:
                psql.stdin.write("\\echo ready\nSELECT 'here';\n")
                psql.stdin.flush()
                while "here" not in psql.stdout.readline():
                    self.assertIsNone(psql.poll())
                proxy.swallow(TO_CLIENT)
                psql.stdin.write("INSERT INTO written VALUES (1);\n")
                psql.stdin.flush()
                while servers.psql("SELECT count(*) FROM written") != [["1"]]:
                    self.assertIsNone(psql.poll())
                proxy.cut()
                psql.stdin.close()
                self.assertRegex(psql.stdout.read(), "server closed the connection|Connection reset")
                psql.wait(PATIENCE_S)


if __name__ == "__main__":
    unittest.main()
