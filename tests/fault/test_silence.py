"""Stores that say nothing: connections that stand and carry nothing, a Postgres that is frozen. It is
found out within 10 s, nobody is declared dead for it, and all goes on within 5 s of the end."""

import time
import unittest

from stores_case import AFTER_RETURN, StoresTest, frozen


class Silence(StoresTest):
    """Connections that stand and carry nothing."""

    def test_a_half_open_connection_to_redis_is_found(self):
        self.settle()
        self.proxies.redis.black_hole()
        self.proxies.redis.heal()
        self.in_time(self.seconds_until_done(self.submit()), 10 + 1)

    def test_a_half_open_connection_to_postgres_is_found(self):
        self.settle()
        self.proxies.postgres.black_hole()
        self.proxies.postgres.heal()
        self.in_time(self.seconds_until_done(self.submit()), 10 + 2)

    def test_a_black_hole_for_redis_defers_submits_and_no_more(self):
        self.settle()
        running = self.submit("seconds=2")
        self.place.wait_status(running, "STARTED")
        self.proxies.redis.black_hole()
        ids = []
        for _ in range(3):
            done = self.place.run("submit", "noted", "log=" + self.log, "--json", env=self.proxies.env).expect(0)
            self.assertEqual(done.json["dispatch"], "deferred")
            self.in_time(done.seconds, 3)
            ids.append(done.json["task_id"])
        self.assertEqual(self.result(running)["attempt"], 1)
        time.sleep(9)  # until the connection was given up and new ones fell into the hole too
        self.proxies.heal()
        began = time.monotonic()
        for task_id in ids:
            self.result(task_id)
        self.in_time(time.monotonic() - began, AFTER_RETURN)

    def test_a_black_hole_for_postgres_kills_nobody(self):
        self.settle()
        running = self.submit("seconds=3")
        self.place.wait_status(running, "STARTED")
        self.proxies.postgres.black_hole()
        time.sleep(12)
        self.assertIn("end 1", self.lines_of(running))
        self.proxies.heal()
        began = time.monotonic()
        self.assertEqual(self.result(running)["attempt"], 1)
        self.result(self.submit())
        self.in_time(time.monotonic() - began, AFTER_RETURN)

    def test_one_direction_only(self):
        self.settle()
        for direction in ("to_server", "to_client"):
            for proxy in (self.proxies.redis, self.proxies.postgres):
                proxy.one_way(direction)
                task_id = self.submit()
                time.sleep(1)
                proxy.heal()
                self.in_time(self.seconds_until_done(task_id), 12)
                self.assertEqual(self.lines_of(task_id), ["start 1", "end 1"])


class Frozen(StoresTest):
    settings = {"CTUTOR_LEASE": "3s"}
    processes = 2

    def test_postgres_longer_than_the_lease(self):
        ids = [self.submit("seconds=%s" % seconds) for seconds in (1, 300)]
        for task_id in ids:
            self.place.wait_status(task_id, "STARTED")
        before = self.place.psql("SELECT incarnation FROM workers WHERE state = 'alive' ORDER BY 1")
        for seconds in (5, 13):  # within the deadline of a statement, and beyond
            with frozen(self.place.postgres_server):
                time.sleep(seconds)
            self.in_time(self.seconds_until_done(self.submit()), AFTER_RETURN)
            time.sleep(4)  # the lease, had anybody counted it
            self.assertEqual(self.place.psql("SELECT incarnation FROM workers WHERE state = 'alive' ORDER BY 1"),
                             before)
        self.assertEqual(self.result(ids[0])["attempt"], 1)
        self.place.run("cancel", ids[1]).expect(0)
        self.assertEqual(self.place.wait_status(ids[1], "REVOKED")["attempt"], 1)


if __name__ == "__main__":
    unittest.main()
