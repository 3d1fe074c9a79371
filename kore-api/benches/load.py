"""The rounds of load.sh: starts the server, drives wrk at it, and checks that what was measured was real."""
import http.client
import json
import os
import re
import signal
import ssl
import statistics
import subprocess
import sys
import tempfile
import time

binary, rounds, seconds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "load.lua")
OBJECTS = 25_320
TICK = os.sysconf("SC_CLK_TCK")
PAYLOAD = "0123456789abcdef" * 33


class Server:
    def __init__(self, directory):
        self.log = open(os.path.join(directory, "log"), "w+")
        began = time.monotonic()
        command = [binary, "--data-dir", directory, "--nodes", "0", "--listen", "127.0.0.1:0"]
        self.process = subprocess.Popen(command, stdout=self.log, stderr=subprocess.STDOUT, start_new_session=True)
        self.port = None
        while self.port is None:
            if self.process.poll() is not None or time.monotonic() - began > 20:
                sys.exit("the server does not start:\n" + open(self.log.name).read())
            found = re.search(r"https://127.0.0.1:(\d+)", open(self.log.name).read())
            self.port = int(found.group(1)) if found else None
            time.sleep(0.0005)
        while self.ask("GET", "/readyz", plain=True)[0] != 200:
            time.sleep(0.0005)
        self.ready = time.monotonic() - began
        self.token = re.search(r"token: (\S+)", open(os.path.join(directory, "kubeconfig")).read()).group(1).strip('"')

    def ask(self, method, path, body=None, plain=False):
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=ssl._create_unverified_context(), timeout=30)
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if not plain:
            headers["Authorization"] = "Bearer " + self.token
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except OSError:
            return 0, b""
        finally:
            connection.close()

    def cpu(self):
        fields = open(f"/proc/{self.process.pid}/stat").read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def resident_mib(self):
        status = open(f"/proc/{self.process.pid}/status").read()
        return int(re.search(r"VmRSS:\s+(\d+)", status).group(1)) / 1024

    def revision(self):
        return int(json.loads(self.ask("GET", "/api/v1/namespaces?limit=1")[1])["metadata"]["resourceVersion"])

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)


def flushes(directory):
    """Flush requests that the device of a directory has completed; None where the kernel does not count them."""
    device = os.stat(directory).st_dev
    for line in open("/proc/diskstats"):
        fields = line.split()
        if (int(fields[0]), int(fields[1])) == (os.major(device), os.minor(device)):
            return int(fields[18]) if len(fields) > 18 else None
    return None


def wrk(server, connections, *arguments):
    threads = 1 if connections == 1 else 2
    command = ["wrk", "-t", str(threads), "-c", str(connections), "-d", f"{seconds}s", "-s", SCRIPT]
    command += [f"https://127.0.0.1:{server.port}", "--", arguments[0], server.token, *arguments[1:]]
    before = os.times()
    outcome = subprocess.run(command, capture_output=True, text=True)
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", outcome.stdout).group(1))
    done = int(re.search(r"(\d+) requests in", outcome.stdout).group(1))
    failed = re.search(r"Non-2xx or 3xx responses: (\d+)", outcome.stdout)
    errors = re.search(r"Socket errors: (.*)", outcome.stdout)
    if failed or errors:
        sys.exit(f"{arguments[0]} at {connections}: {failed and failed.group(0)} {errors and errors.group(0)}\n{outcome.stderr}")
    return rate, done, cpu


def seed(server):
    """Fills the namespace up to OBJECTS with objects that reads name."""
    connection = http.client.HTTPSConnection("127.0.0.1", server.port, context=ssl._create_unverified_context(), timeout=30)
    headers = {"Content-Type": "application/json", "Authorization": "Bearer " + server.token}
    there = count(server)
    for number in range(1, OBJECTS - there + 1):
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"seed-{number}", "labels": {"app": "load"}},
                "data": {"payload": PAYLOAD, "owner": "load"}}
        connection.request("POST", "/api/v1/namespaces/load/configmaps", json.dumps(body), headers)
        answer = connection.getresponse()
        answer.read()
        if answer.status != 201:
            sys.exit(f"seed-{number}: {answer.status}")
    return OBJECTS - there


def count(server):
    answer = json.loads(server.ask("GET", "/api/v1/namespaces/load/configmaps?limit=1")[1])
    return len(answer["items"]) + answer["metadata"].get("remainingItemCount", 0)


def list_seconds(server):
    command = ["curl", "-sk", "-o", "/dev/null", "-w", "%{time_total} %{size_download} %{http_code}",
               "-H", f"Authorization: Bearer {server.token}", f"https://127.0.0.1:{server.port}/api/v1/namespaces/load/configmaps"]
    taken = []
    for _ in range(3):
        total, size, code = subprocess.run(command, capture_output=True, text=True).stdout.split()
        if code != "200" or int(size) < OBJECTS * 900:
            sys.exit(f"the list: {code}, {size} bytes")
        taken.append(float(total))
    return statistics.median(taken), int(size)


def check(server, expected):
    """Everything that was answered is there, and is what was sent."""
    found = count(server)
    if found < expected:
        sys.exit(f"{expected} creates were answered, and {found} objects are there")
    page = json.loads(server.ask("GET", "/api/v1/namespaces/load/configmaps?limit=500")[1])
    for item in page["items"]:
        if item["data"]["payload"] != PAYLOAD or not item["metadata"]["managedFields"]:
            sys.exit(f"{item['metadata']['name']} is not what was sent")
    return found


figures = {}


def note(name, value):
    figures.setdefault(name, []).append(value)


for round_number in range(rounds):
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR", "/var/tmp")) as directory:
        server = Server(directory)
        note("ready s", server.ready)
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "load"}}
        assert server.ask("POST", "/api/v1/namespaces", json.dumps(namespace))[0] == 201
        made = 0
        for connections in (1, 16, 64):
            device, cpu, revision = flushes(directory), server.cpu(), server.revision()
            rate, done, client = wrk(server, connections, "create", f"c{connections}")
            made += done
            commits = server.revision() - revision
            note(f"create/s at {connections}", rate)
            if device is not None and commits:
                note(f"flushes a commit at {connections}", (flushes(directory) - device) / commits)
            used = server.cpu() - cpu
            note(f"server's share of the processor at {connections}", used / (used + client))
            note(f"server's processor µs a create at {connections}", used / done * 1e6)
        check(server, made)
        server.stop()
    # Reads and lists: a cluster of as many objects as the reference had.
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR", "/var/tmp")) as directory:
        server = Server(directory)
        assert server.ask("POST", "/api/v1/namespaces", json.dumps(namespace))[0] == 201
        seeded = seed(server)
        check(server, OBJECTS)
        cpu = server.cpu()
        rate, done, client = wrk(server, 64, "get", "seed", str(seeded))
        used = server.cpu() - cpu
        note("get/s at 64", rate)
        note("server's processor µs a get", used / done * 1e6)
        taken, size = list_seconds(server)
        note(f"list of {OBJECTS} s", taken)
        note("list MB", size / 1e6)
        note("resident MiB afterwards", server.resident_mib())
        server.stop()
    print(f"round {round_number + 1} of {rounds}", file=sys.stderr)

reference = {"create/s at 1": "546", "create/s at 16": "1756", "create/s at 64": "1876", "get/s at 64": "4870",
             f"list of {OBJECTS} s": "1.26", "resident MiB afterwards": "1741", "ready s": "1.9"}
print(f"{'median of ' + str(rounds):<45} {'':>12}   upstream 1.20.2 on etcd 3.4, measured elsewhere on a machine of this kind")
for name, values in figures.items():
    print(f"{name:<45} {statistics.median(values):>12,.3f}   {reference.get(name, '')}")
