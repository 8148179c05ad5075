#!/usr/bin/env python3
"""Measures ctutor-run on private servers with default durability (fsync on, synchronous_commit on).

  bench.py [--runs N] [sleep|latency|drain|submit|rest|idle ...]      default: all, 3 runs each

Prints one line a measurement: name, median, range. Each run starts from an empty ledger and a checkpoint.
"""
import json, os, re, shutil, statistics, subprocess, sys, tempfile, time

HERE = os.path.dirname(os.path.abspath(__file__))
PROGRAM = os.environ.get("CTUTOR_RUN") or os.path.join(HERE, "..", "..", "build", "ctutor-run")
LOAD = os.environ.get("BENCH_LOAD") or os.path.join(os.path.dirname(PROGRAM), "bench_load")
PAYLOAD = {"message": "hello", "count": 1, "pad": "x" * 57}  # 100 bytes of JSON


class Servers:
    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="ctb-", dir="/tmp")
        os.chmod(self.dir, 0o755)
        self.processes = []
        bindir = sorted(p for p in os.listdir("/usr/lib/postgresql"))[-1]
        self.bin = f"/usr/lib/postgresql/{bindir}/bin/"
        self.start_postgres()
        self.start_redis()
        # What a client needs, and nothing of the caller's own settings.
        self.env = {"PATH": os.environ["PATH"], "HOME": self.dir, "TMPDIR": self.dir, "LANG": "C.UTF-8",
                    "REDIS_URL": f"unix://{self.dir}/redis.sock",
                    "DATABASE_URL": f"host={self.dir} user=postgres dbname=codeability",
                    "CTUTOR_TASKS_DIR": os.path.join(HERE, "tasks.d"), "CTUTOR_LOG": "warn"}

    def as_postgres(self):
        return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []

    def start_postgres(self):
        data = self.dir + "/pg"
        os.mkdir(data, 0o700)
        if os.geteuid() == 0:
            shutil.chown(data, "postgres", "postgres")
            shutil.chown(self.dir, "postgres", "postgres")
        subprocess.run(self.as_postgres() + [self.bin + "initdb", "-D", data, "-A", "trust", "-U", "postgres", "-E", "UTF8",
                       "--locale=C", "-N"], check=True, capture_output=True, cwd="/")
        self.spawn(self.as_postgres() + [self.bin + "postgres", "-D", data, "-k", self.dir, "-c", "listen_addresses=",
                   "-c", "shared_buffers=512MB", "-c", "max_wal_size=4GB"])
        self.until(lambda: subprocess.run([self.bin + "pg_isready", "-h", self.dir], capture_output=True).returncode == 0)
        self.psql("create database codeability", "postgres")

    def start_redis(self):
        self.spawn(["redis-server", "--port", "0", "--unixsocket", self.dir + "/redis.sock", "--dir", self.dir, "--appendonly", "yes",
                    "--appendfsync", "everysec", "--save", "", "--maxmemory-policy", "noeviction"])
        self.until(lambda: os.path.exists(self.dir + "/redis.sock"))

    def spawn(self, argv):
        self.processes.append(subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True))

    @staticmethod
    def until(condition, seconds=30):
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end: raise SystemExit("bench: gave up waiting")
            time.sleep(0.02)

    def psql(self, sql, database="codeability"):
        return subprocess.run([self.bin + "psql", "-h", self.dir, "-U", "postgres", "-d", database, "-XAtqc", sql],
                              check=True, capture_output=True, text=True).stdout.strip()

    def run(self, *args, **options):
        return subprocess.run([PROGRAM, *args], env=self.env, cwd=self.dir, check=True, capture_output=True, text=True, **options)

    def worker(self, *args):
        return subprocess.Popen([PROGRAM, "worker", "start", *args], env=self.env, cwd=self.dir, stderr=sys.stderr)

    def reset(self):
        self.psql("truncate ctutor.tasks, ctutor.active, ctutor.outcomes, ctutor.attempts, ctutor.logs")
        self.psql("checkpoint")
        subprocess.run(["redis-cli", "-s", self.dir + "/redis.sock", "flushall"], check=True, capture_output=True)

    def bulk(self, name, count, parameters=None):
        line = json.dumps({"task_name": name, "parameters": parameters or {}})
        path = self.dir + "/bulk.ndjson"
        with open(path, "w") as file: file.write((line + "\n") * count)
        began = time.monotonic()
        self.run("submit", "--bulk", path)
        return count / (time.monotonic() - began)

    def finished(self): return int(self.psql("select count(*) from ctutor.outcomes"))

    def span(self):
        return float(self.psql("select extract(epoch from max(finished_at) - min(started_at)) from ctutor.outcomes"))

    def close(self):
        for process in reversed(self.processes):
            process.send_signal(2)
            process.wait(20)
        shutil.rmtree(self.dir, ignore_errors=True)


def stop(worker):
    worker.terminate()
    worker.wait(40)


def children(pid):
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True).stdout.split()
    return [pid] + [int(p) for p in found]


def memory_mib(pid):
    total = 0
    for one in children(pid):
        with open(f"/proc/{one}/smaps_rollup") as file: total += int(re.search(r"^Pss:\s+(\d+)", file.read(), re.M).group(1))
    return total / 1024


def bench_sleep(servers):
    """seconds from the first start to the last finish of 10,000 tasks that sleep 1 s, one runner, --concurrency 10000"""
    servers.bulk("bench_sleep", 10000)
    worker = servers.worker("--processes", "1", "--concurrency", "10000")
    servers.until(lambda: servers.finished() == 10000, 60)
    stop(worker)
    return servers.span()


def bench_drain(servers):
    """no-op tasks a second: a backlog of 100,000 worked off by two runners"""
    servers.bulk("bench_noop", 100000, PAYLOAD)
    servers.psql("checkpoint")
    worker = servers.worker("--processes", "2", "--burst")
    worker.wait(120)
    assert servers.finished() == 100000
    return 100000 / servers.span()


def bench_submit(servers):
    """submits a second in bulk, 100,000 of 100 bytes"""
    return servers.bulk("bench_noop", 100000, PAYLOAD)


def bench_latency(servers):
    """milliseconds from a single submit to the first line of execute, 1,000 one after another from a connected client: p50"""
    worker = servers.worker("--processes", "2")
    client = subprocess.Popen([PROGRAM, "submit", "--bulk", "-"], env=servers.env, cwd=servers.dir, stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, text=True, bufsize=1)
    line, sent = json.dumps({"task_name": "bench_stamp"}) + "\n", {}
    for i in range(1100):
        began = time.time()
        client.stdin.write(line)
        task = client.stdout.readline().strip()
        if i >= 100: sent[task] = began
        time.sleep(0.002)
    client.stdin.close()
    client.wait(10)
    servers.until(lambda: servers.finished() == 1100)
    rows = servers.psql("select id || ' ' || (result #>> '{}') from ctutor.outcomes").splitlines()
    stop(worker)
    took = sorted((float(row.split()[1]) - sent[row.split()[0]]) * 1000 for row in rows if row.split()[0] in sent)
    print(f"  latency of {len(took)}: p50 {took[len(took) // 2]:.2f} ms, p99 {took[int(len(took) * .99)]:.2f} ms", flush=True)
    return took[len(took) // 2]


def bench_rest(servers):
    """POST /api/tasks/submit by 64 connections: durable submits a second; each waits for its answer before it asks again"""
    with open(servers.dir + "/serve.log", "w") as log:
        serve = subprocess.Popen([PROGRAM, "serve", "--listen", "127.0.0.1:0"], env={**servers.env, "CTUTOR_LOG": "info"}, cwd=servers.dir, stderr=log)
    port = lambda: re.search(r"serving http://\S+:(\d+)", open(servers.dir + "/serve.log").read())
    servers.until(port)
    load = lambda what, *request: print_load(what, subprocess.run([LOAD, port()[1], *request], check=True, capture_output=True, text=True).stdout)
    body = json.dumps({"task_name": "bench_noop", "parameters": PAYLOAD})
    found = load("submit", "64", "5", "POST", "/api/tasks/submit", body)
    task = servers.psql("select id from ctutor.tasks limit 1")
    load("one task", "64", "2", "GET", "/api/tasks/" + task)
    servers.run("cancel", task)
    load("its result", "64", "2", "GET", f"/api/tasks/{task}/result")
    stop(serve)
    return found


def print_load(what, line):
    rate, p50, p99, most = line.split()
    print(f"  {what}: {rate}/s, p50 {p50} ms, p99 {p99} ms, max {most} ms", flush=True)
    return float(rate)


def bench_idle(servers):
    """MiB (PSS) of an idle worker: supervisor and two runners"""
    worker = servers.worker("--processes", "2")
    time.sleep(3)
    used = memory_mib(worker.pid)
    stop(worker)
    return used


BENCHES = {"sleep": bench_sleep, "latency": bench_latency, "drain": bench_drain, "submit": bench_submit, "rest": bench_rest, "idle": bench_idle}


def main():
    words = sys.argv[1:]
    runs = 3
    if "--runs" in words:
        at = words.index("--runs")
        runs = int(words[at + 1])
        del words[at:at + 2]
    unknown = [w for w in words if w not in BENCHES]
    if unknown: raise SystemExit(__doc__)
    servers = Servers()
    try:
        servers.run("migrate")
        warm = servers.worker("--processes", "1", "--burst")
        warm.wait(30)
        for name in words or BENCHES:
            figures = []
            for _ in range(runs):
                servers.reset()
                figures.append(BENCHES[name](servers))
            print(f"{name:8} {statistics.median(figures):10.2f}   ({min(figures):.2f} .. {max(figures):.2f})   {BENCHES[name].__doc__}", flush=True)
    finally:
        servers.close()


if __name__ == "__main__": main()
