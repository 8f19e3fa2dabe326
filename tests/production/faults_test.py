"""Real servers, several replicas, load, and one fault after the other: nothing is lost, doubled or out of order, judged by what
a plain consumer saw, by what PostgreSQL holds and by what the ledger exports (invariants.py).

Environment: WFO_FAULT_RUNS, how many triggers a test sends (200); WFO_FAULT_SEED, what chance begins with. Both are printed.
"""

import os
import random
import shutil
import sys
import tempfile
import time
import unittest
from collections import Counter
from pathlib import Path

import invariants
from installation import Installation, wait_until
from neighbours import Producer, Worker, deliver_in_vain, publish
from place import Place, SqlitePlace
from triggers import triggers

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "end_to_end"))
from servers import TO_CLIENT, TO_SERVER, Servers, TcpProxy, through  # noqa: E402

RUNS = int(os.environ.get("WFO_FAULT_RUNS", "200"))
SEED = int(os.environ.get("WFO_FAULT_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
RATE = max(40, RUNS / 15)  # triggers a second: two cores also have servers, Node and judge to run
BURST = RUNS // 8  # so many at once, so that a fault meets an installation that has much in hand
REPLICAS = 3
EXIT_UNAVAILABLE = 5
LEASES = ("relay", "timers", "ledger")
TAKEOVER_S = 15  # 5 on a machine that does nothing else; what it took is printed


class Faults(unittest.TestCase):
    servers = None

    @classmethod
    def setUpClass(cls):
        print(f"\n{RUNS} triggers a test, WFO_FAULT_SEED={SEED}", file=sys.stderr, flush=True)
        cls.servers = Servers()
        cls.servers.__enter__()
        cls.addClassCleanup(cls.servers.__exit__)

    def setUp(self):
        name = self.id().rpartition(".")[2].removeprefix("test_")
        self.chance = random.Random(f"{SEED} {name}")
        self.folder = Path(tempfile.mkdtemp(prefix="wfo-faults-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.place = Place(self.servers, name[:50])
        self.installation = self.enterContext(Installation(self.place, self.folder))
        self.began = time.monotonic()
        self.notes = []

    def note(self, text):
        self.notes.append(text)

    def replicas(self, **more):
        """Starts them, each with all roles, and the observer before them."""
        self.installation.observe()
        replicas = [self.installation.replica(f"replica-{number}", **more) for number in range(REPLICAS)]
        self.installation.start(*replicas)
        return replicas

    def under_load(self, faults, rate=RATE, begin=20, events_of_a_run=invariants.EVENTS_OF_A_RUN):
        """Lets triggers come, calls `faults(is_over)` when `begin` of them are confirmed, waits for rest and judges.
        `is_over()`: all triggers are confirmed."""
        messages, meant = triggers(self.chance, RUNS)
        with Producer(self.place.bus_url, self.folder, messages, rate=rate, burst=BURST) as producer:
            wait_until(lambda: len(producer.confirmed()) >= min(begin, RUNS // 2), "the load begins")
            faults(lambda: any(said["word"] == "done" for said in producer.said))
            confirmed = producer.finish(RUNS / rate + 120)
        self.judge([meant[line["line"]] for line in confirmed], events_of_a_run)

    def judge(self, confirmed, events_of_a_run):
        loaded = time.monotonic()
        unrest = self.installation.settle(len(confirmed))
        rested = time.monotonic()
        facts = self.installation.facts(confirmed)
        wrong = invariants.check_all(facts, events_of_a_run)
        repeats = len(facts.observed) - len(invariants.first_occurrences(facts.observed))
        redelivered = sum(message["redelivered"] for message in facts.observed)
        absorbed = sum(row["outcome"] == "absorbed" for row in facts.triggers.values())
        print(f"{self.id().rpartition('.')[2]}: {len(confirmed)} triggers, {len(facts.runs)} runs, {absorbed} absorbed, "
              f"{len(facts.log)} events, {repeats} came twice ({redelivered} redelivered), "
              f"the slowest was seen {invariants.slowest_ms(facts) / 1000:.1f} s after its commit; at rest after "
              f"{rested - loaded:.1f} s, all in {time.monotonic() - self.began:.1f} s; {'; '.join(self.notes)}",
              file=sys.stderr, flush=True)
        if unrest:
            wrong.insert(0, f"[rest] still under way: {unrest}")
        for replica in self.installation.replicas:
            if not replica.alive():
                wrong.append(f"[processes] {replica.name} ended by itself with {replica.process.poll()}")
        if wrong:
            more = f"\n… and {len(wrong) - 25} more" if len(wrong) > 25 else ""
            shown = "\n".join(wrong[:25]) + more
            self.keep()
            self.fail(f"{len(wrong)} things are wrong (WFO_FAULT_SEED={SEED}):\n{shown}\n{self.installation.tails()}")

    def keep(self):
        """Copies what the processes wrote to where somebody can look at it: $WFO_FAULT_LOGS."""
        if kept := os.environ.get("WFO_FAULT_LOGS"):
            shutil.copytree(self.folder, Path(kept) / self.place.name, dirs_exist_ok=True)
            for server in ("POSTGRES", "RABBITMQ"):
                shutil.copy(self.servers.values[f"DEV_{server}_LOG"], Path(kept) / self.place.name / f"{server.lower()}.log")

    def pause_for(self, least_s, most_s):
        time.sleep(self.chance.uniform(least_s, most_s))

    # --- processes

    def test_replicas_are_killed_again_and_again(self):
        replicas = self.replicas()
        killed = 0

        def faults(is_over):
            nonlocal killed
            while not is_over() or killed < 8:
                victim = self.chance.choice(replicas)
                victim.kill()
                killed += 1
                self.pause_for(0, 0.3)
                victim.start()
                self.pause_for(0.2, 0.8)
            self.note(f"{killed} kills")

        self.under_load(faults)

    def test_all_replicas_are_killed_at_once(self):
        """More often than brokers deliver a message by default before they give it up."""
        replicas = self.replicas()
        rounds = 25

        def faults(_):
            for _ in range(rounds):
                for replica in replicas:
                    replica.kill()
                for replica in replicas:
                    replica.start()
                self.pause_for(0.05, 0.5)

        self.under_load(faults)

    def test_one_process_on_sqlite_is_killed_and_its_broker_too(self):
        self.installation = self.enterContext(
            Installation(SqlitePlace(self.servers, "sqlite", self.folder / "one-process"), self.folder))
        self.place = self.installation.place
        self.installation.observe()
        replica = self.installation.replica("one-process")
        self.installation.start(replica)
        killed = 0

        def faults(is_over):
            nonlocal killed
            while not is_over() or killed < 6:
                replica.kill()
                killed += 1
                if killed == 3:
                    self.servers.kill("rabbitmq")
                    self.servers.start("rabbitmq")
                replica.start()
                self.pause_for(0.3, 1)
            self.note(f"{killed} kills")

        self.under_load(faults)

    def test_messages_that_were_delivered_in_vain_many_times_are_not_given_up(self):
        replica, *_ = self.replicas()
        for one in self.installation.replicas:
            one.stop()
        messages, meant = triggers(self.chance, 20)
        publish(self.place.bus_url, self.folder, messages)
        count = deliver_in_vain(self.place.bus_url, "workflow_orchestrator_service", 40)
        self.assertGreaterEqual(count, 39, "the broker has not counted")
        self.note(f"delivered {count} times before")
        self.installation.replicas = [replica]
        self.installation.start(replica)
        self.judge(meant, invariants.EVENTS_OF_A_RUN)

    # --- one after the other does what one does at a time

    def with_worker(self, **more):
        """Replicas without one role, which a service in Node plays; a third of its first answers are failures, so that
        there is work for the timers. Returns them and what is to be seen of a run."""
        worker = self.enterContext(Worker(self.place.bus_url, self.folder, ["recommendations"], fail_every=3))
        replicas = self.replicas(roles=["workflow-orchestrator", "risk-analytics", "forecasting", "logging"], **more)

        def events_of_a_run(run):
            wanted = Counter(invariants.EVENTS_OF_A_RUN)
            del wanted["recommendation.generation.completed"]
            wanted["workflow.recommendation.requested"] += worker.fails_first(run)
            return wanted
        return replicas, events_of_a_run

    def takeover(self, lease, stop):
        """Calls `stop` with the replica that holds the lease; returns it and how long it took until another one had it."""
        holder, epoch = wait_until(lambda: (lambda held: held[0] and held)(self.installation.lease(lease)), f"a holder of {lease}")
        stop(holder)
        began = time.monotonic()

        def is_taken():
            now, now_epoch = self.installation.lease(lease)
            return now_epoch > epoch and now is not None and now is not holder
        try:
            wait_until(is_taken, f"another holder of {lease} after {holder.name}", patience_s=30)
        finally:
            taken_s = time.monotonic() - began
        self.note(f"{lease} taken over after {taken_s:.1f} s")
        self.takeovers.append((lease, taken_s))
        return holder

    def assert_takeovers(self):
        for lease, seconds in self.takeovers:
            self.assertLess(seconds, TAKEOVER_S, f"{lease} was taken over after {seconds:.1f} s")

    def test_what_a_dead_replica_did_alone_another_does_soon(self):
        self.takeovers = []
        _, events_of_a_run = self.with_worker()

        def faults(_):
            for lease in LEASES:
                self.takeover(lease, lambda holder: holder.kill()).start()

        self.under_load(faults, rate=RUNS / 12, events_of_a_run=events_of_a_run)
        self.assert_takeovers()

    def test_a_paused_replica_wakes_after_its_work_was_taken_over(self):
        """Each time it is paused while there is much to be published, so in the middle of something."""
        self.takeovers = []
        # The broker gives the ledger's queue to another process when this one's heartbeats are missing.
        _, events_of_a_run = self.with_worker(bus__heartbeat="2s")
        rounds = ("relay", "timers", "relay", "ledger")
        messages, meant = triggers(self.chance, RUNS)
        confirmed = []
        for number, lease in enumerate(rounds):
            begin, end = (RUNS * place // len(rounds) for place in (number, number + 1))
            with Producer(self.place.bus_url, self.folder, messages[begin:end]) as producer:
                wait_until(lambda: self.place.query("SELECT 1 FROM wfo.outbox LIMIT 1"), "something is to be published", every_s=0.01)
                holder = self.takeover(lease, lambda holder: holder.pause())
                self.pause_for(0, 1)
                holder.resume()
                confirmed += [meant[begin + line["line"]] for line in producer.finish()]
        self.judge(confirmed, events_of_a_run)
        self.assert_takeovers()

    # --- servers

    def test_rabbitmq_is_killed_and_comes_back_with_its_data(self):
        self.replicas()

        def faults(_):
            self.servers.kill("rabbitmq")
            self.servers.start("rabbitmq")

        # Not at once: what RabbitMQ 3.10 knows of a quorum queue lies in a file (ra's names.dets) that it writes half a second
        # after the queue was made. Killed before that, it starts the queue anew, without a leader, until it is started again.
        self.under_load(faults, begin=RUNS // 2)

    def test_postgresql_is_stopped_and_started_and_crashes(self):
        self.replicas()

        def faults(_):
            for mode in ("fast", "immediate", "kill"):
                began = time.monotonic()
                if mode == "kill":
                    self.servers.kill("postgres")
                else:
                    self.servers.stop("postgres", mode)
                self.pause_for(0.2, 1)
                self.servers.start("postgres")
                self.note(f"away for {time.monotonic() - began:.1f} s ({mode})")
                self.pause_for(0.5, 1)

        self.under_load(faults)

    def test_rabbitmq_comes_later_than_everybody(self):
        self.installation.observe()  # makes its queue, so it has to be there now
        self.servers.stop("rabbitmq")
        replicas = [self.installation.replica(f"replica-{number}").start() for number in range(REPLICAS)]
        for replica in replicas:
            replica.await_port()
            status, answer = replica.ask("GET", "/ready")
            self.assertEqual(status, 503, answer)
            self.assertIn("RabbitMQ", str(answer))
        self.servers.start("rabbitmq")
        for replica in replicas:
            wait_until(lambda one=replica: one.ask("GET", "/ready")[0] == 200, f"{replica.name} is ready")
        messages, meant = triggers(self.chance, 20)
        publish(self.place.bus_url, self.folder, messages)
        self.judge(meant, invariants.EVENTS_OF_A_RUN)

    # --- everything

    def test_everything_happens_in_one_hour(self):
        """All of the above in an order by chance, some of it at the same time."""
        with TcpProxy(self.servers.postgres_port) as postgres, TcpProxy(self.servers.rabbitmq_port) as rabbitmq:
            replicas = self.replicas(store_url=through(self.place.store_url, postgres),
                                     bus_url=through(self.place.bus_url, rabbitmq), bus__heartbeat="2s")

            def supervise():
                """Starts those again that found no database when they started, as whoever runs services does."""
                for one in replicas:
                    if not one.alive() and one.process.returncode == EXIT_UNAVAILABLE:
                        one.start()
                return all(one.alive() and one.has_port() for one in replicas)

            def kill():
                victim = self.chance.choice(replicas)
                victim.kill()
                victim.start()

            def pause():
                victim = self.chance.choice(replicas)
                victim.pause()
                self.pause_for(0.5, 6)
                victim.resume()

            def cut():
                self.chance.choice((postgres, rabbitmq)).cut()

            def cut_in_the_middle():
                self.chance.choice((postgres, rabbitmq)).cut_after(self.chance.randrange(1, 20_000),
                                                                   self.chance.choice((TO_SERVER, TO_CLIENT)))

            def swallow():
                proxy = self.chance.choice((postgres, rabbitmq))
                proxy.swallow(TO_CLIENT)
                self.pause_for(0.02, 0.4)
                proxy.cut()
                proxy.swallow(TO_CLIENT, on=False)
                proxy.cut()

            def restart_postgres():
                self.servers.stop("postgres", self.chance.choice(("fast", "immediate")))
                self.servers.start("postgres")

            def restart_rabbitmq():
                self.servers.kill("rabbitmq")
                self.servers.start("rabbitmq")

            def faults(is_over):
                deeds = ([kill, cut, cut_in_the_middle, swallow] * 2 + [pause, restart_postgres]) * (1 if RUNS < 1000 else 3)
                self.chance.shuffle(deeds)
                # The dearest one last of its kind: it takes seconds, in which nothing else could be disturbed.
                deeds.insert(self.chance.randrange(len(deeds) // 2, len(deeds)), restart_rabbitmq)
                while deeds or not is_over():
                    (deeds.pop() if deeds else self.chance.choice((kill, cut, swallow)))()
                    self.pause_for(0, 0.6)
                    supervise()
                for proxy in (postgres, rabbitmq):
                    proxy.heal()
                wait_until(lambda: supervise() and all(one.ask("GET", "/ready")[0] == 200 for one in replicas), "all are ready")

            self.under_load(faults, rate=RUNS / 12)

    # --- connections

    def cuts(self, proxy, is_over):
        """Cuts all connections at a moment by chance, or the next that carries so many bytes more."""
        cuts = 0
        while not is_over() or cuts < 6:
            if self.chance.random() < 0.5:
                proxy.cut()
            else:
                proxy.cut_after(self.chance.randrange(1, 20_000), self.chance.choice((TO_SERVER, TO_CLIENT)))
            cuts += 1
            self.pause_for(0.2, 0.9)
        proxy.heal()
        self.note(f"{cuts} cuts, {proxy.accepted} connections")

    def swallows(self, proxy, is_over):
        """The server does what it is asked, but nobody hears of it; then the connection is gone."""
        rounds = 0
        while not is_over() or rounds < 4:
            proxy.swallow(TO_CLIENT)
            self.pause_for(0.02, 0.4)
            proxy.cut()
            proxy.swallow(TO_CLIENT, on=False)
            proxy.cut()  # those that came in between
            rounds += 1
            self.pause_for(0.3, 1.2)
        proxy.heal()
        self.note(f"{rounds} times, {proxy.swallowed[TO_CLIENT]} bytes of answers swallowed")

    def test_connections_to_rabbitmq_are_cut_in_the_middle(self):
        with TcpProxy(self.servers.rabbitmq_port) as proxy:
            self.replicas(bus_url=through(self.place.bus_url, proxy))
            self.under_load(lambda is_over: self.cuts(proxy, is_over))

    def test_connections_to_postgresql_are_cut_in_the_middle(self):
        with TcpProxy(self.servers.postgres_port) as proxy:
            self.replicas(store_url=through(self.place.store_url, proxy))
            self.under_load(lambda is_over: self.cuts(proxy, is_over))

    def test_confirms_and_deliveries_of_rabbitmq_are_lost(self):
        with TcpProxy(self.servers.rabbitmq_port) as proxy:
            self.replicas(bus_url=through(self.place.bus_url, proxy))
            self.under_load(lambda is_over: self.swallows(proxy, is_over))

    def test_answers_of_postgresql_are_lost_also_those_to_commits(self):
        with TcpProxy(self.servers.postgres_port) as proxy:
            self.replicas(store_url=through(self.place.store_url, proxy))
            self.under_load(lambda is_over: self.swallows(proxy, is_over))


if __name__ == "__main__":
    unittest.main(verbosity=2)
