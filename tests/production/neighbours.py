"""The services beside ours, each a process in Node (node/*.mjs): what they are told, and what they saw."""

import hashlib
import json
import signal
import subprocess
import threading
import time
from pathlib import Path

NODE = Path(__file__).resolve().parent / "node"


def _command(script, arguments):
    command = ["node", str(NODE / script)]
    for name, value in arguments.items():
        command += [f"--{name.replace('_', '-')}", str(value)]
    return command


def _run(script, patience_s, **arguments):
    done = subprocess.run(_command(script, arguments), capture_output=True, text=True, timeout=patience_s, check=False)
    if done.returncode != 0:
        raise AssertionError(f"{script}: exit code {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return done.stdout


def declare(url, **queues):
    """Declares durable queues without arguments, as others of the platform do: name=[binding, …]."""
    text = ",".join(f"{name}={'+'.join(bindings)}" for name, bindings in queues.items())
    _run("declare.mjs", 60, url=url, queues=text)


def read_lines(file):
    """The whole lines of a file that somebody may be writing."""
    if not Path(file).exists():
        return []
    text = Path(file).read_text(encoding="utf-8")
    return [json.loads(line) for line in text[:text.rfind("\n") + 1].split("\n") if line]


class Neighbour:
    """One of the scripts in the background. What it says on stdout (JSON lines with a `word`) is kept."""

    def __init__(self, script, **arguments):
        self.script = script
        self.process = subprocess.Popen(_command(script, arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.said, self.errors = [], []
        self._changed = threading.Condition()
        self._readers = [threading.Thread(target=self._read, args=pair, daemon=True)
                         for pair in ((self.process.stdout, self.said), (self.process.stderr, self.errors))]
        for reader in self._readers:
            reader.start()

    def _read(self, stream, lines):
        for line in stream:
            with self._changed:
                lines.append(json.loads(line) if stream is self.process.stdout else line)
                self._changed.notify_all()

    def wait_for(self, word, patience_s=60):
        """Waits until it has said `word`; returns that line."""
        until = time.monotonic() + patience_s
        with self._changed:
            while True:
                for said in self.said:
                    if said["word"] == word:
                        return said
                ended = self.process.poll() is not None and not any(reader.is_alive() for reader in self._readers)
                assert not ended and time.monotonic() < until, \
                    f"{self.script} did not say {word}; it said {self.said[-5:]} {''.join(self.errors)[-2000:]}"
                self._changed.wait(0.1)

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait(20)
        for reader in self._readers:
            reader.join(20)
        self.process.stdout.close()
        self.process.stderr.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


class Observer(Neighbour):
    """A plain consumer that writes everything that it gets to a file. Ready when made."""

    def __init__(self, url, folder, queue="observer", bindings="#"):
        self.file = Path(folder) / f"{queue}.jsonl"
        super().__init__("observer.mjs", url=url, queue=queue, out=self.file, bindings=bindings)
        self.wait_for("ready")
        self._offset, self._messages = 0, []

    def messages(self):
        """What it has seen so far, in the order in which it came, repeats included."""
        if self.file.exists():
            with self.file.open("rb") as lines:
                lines.seek(self._offset)
                new = lines.read()
            new = new[:new.rfind(b"\n") + 1]
            self._offset += len(new)
            self._messages += [json.loads(line) for line in new.split(b"\n") if line]
        return self._messages


class Worker(Neighbour):
    """A service that plays some of our roles. Ready when made."""

    def __init__(self, url, folder, roles, fail_every=0):
        self.file = Path(folder) / "worker.jsonl"
        self.fail_every = fail_every
        super().__init__("worker.mjs", url=url, roles=",".join(roles), out=self.file, fail_every=fail_every)
        self.wait_for("ready")

    def answers(self):
        return read_lines(self.file)

    def fails_first(self, workflow):
        """How many requests for this run it answers with a failure: 1 or 0."""
        number = int.from_bytes(hashlib.sha256(workflow.encode()).digest()[:4], "big")
        return int(self.fail_every > 0 and number % self.fail_every == 0)


class JobWorker(Neighbour):
    """The worker of external batch jobs. `jobs`: {name: milliseconds that it takes}. Ready when made."""

    def __init__(self, url, folder, jobs, queue="exporter"):
        self.file = Path(folder) / f"{queue}.jsonl"
        names = ",".join(f"{name}={milliseconds}" for name, milliseconds in jobs.items())
        super().__init__("job_worker.mjs", url=url, queue=queue, jobs=names, out=self.file)
        self.wait_for("ready")

    def taken(self):
        """A line for each trigger that it has dealt with."""
        return read_lines(self.file)


class Producer(Neighbour):
    """Publishes messages until each is confirmed; at a rate, if one is given, `burst` of them at once."""

    _number = 0

    def __init__(self, url, folder, messages, rate=0, burst=1):
        Producer._number += 1
        self.messages = messages
        source = Path(folder) / f"messages-{Producer._number}.jsonl"
        self.file = Path(folder) / f"confirmed-{Producer._number}.jsonl"
        source.write_text("".join(json.dumps(message) + "\n" for message in messages), encoding="utf-8")
        super().__init__("producer.mjs", url=url, messages=source, out=self.file, rate=rate, burst=burst)

    def confirmed(self):
        return read_lines(self.file)

    def finish(self, patience_s=120):
        """Waits until all are confirmed."""
        self.wait_for("done", patience_s)
        return self.confirmed()


def publish(url, folder, messages):
    """Publishes these now; returns when all are confirmed."""
    with Producer(url, folder, messages) as producer:
        return producer.finish()


def deliver_in_vain(url, queue, times):
    """Takes the messages of the queue and dies, so many times; returns what the broker counted for the worst of them."""
    return json.loads(_run("unreliable.mjs", 120, url=url, queue=queue, times=times).splitlines()[-1])["countMax"]


def check(observer):
    """What ajv says of everything that the observer saw; fails when anything is invalid."""
    return json.loads(_run("check.mjs", 120, observed=observer.file))
