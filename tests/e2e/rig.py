"""A real rigd and real clients of it. Everything waits for events; nothing sleeps for luck."""

import http.client
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import threading
import time
from contextlib import ExitStack
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families
from websockets.sync.client import connect

ROOT = Path(__file__).resolve().parents[2]
BINARY = os.environ.get("RIGD_BIN", str(ROOT / "target/release/rigd"))
ARTEFACTS = ROOT / "tests/artefacts"
PATIENCE = float(os.environ.get("PATIENCE", "30"))

# Room for a test that says more than a person would.
NO_LIMITS = """
[limits]
messages_per_s = 1000000
message_burst = 1000000
batches_per_s = 1000
operations_per_s = 1000
"""


def environment(folder, extra=()):
    """The environment without settings of rigd's, and with a home of the test's own."""
    mine = {k: v for k, v in os.environ.items() if not k.startswith(("RIGD_", "ENABLE_", "ALLOW_"))}
    return {**mine, "HOME": str(folder), "XDG_STATE_HOME": str(folder / "state"), **dict(extra)}


def run(folder, *arguments, env=(), timeout=60):
    """Runs rigd to its end."""
    return subprocess.run(
        [BINARY, *map(str, arguments)],
        env=environment(folder, env),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=timeout,
    )


class Rig:
    """`rigd serve` on a free port."""

    def __init__(self, folder, *options, settings="", env=(), wrapper=(), backend="null"):
        command = [*wrapper, BINARY, "serve"]
        self.folder = folder
        self.state = folder / "state"
        if "--state-dir" in options:
            self.state = Path(options[options.index("--state-dir") + 1])
        else:
            command += ["--state-dir", self.state]
        if backend and "--backend" not in options:
            command += ["--backend", backend]
        if "--listen" not in options:
            command += ["--listen", "127.0.0.1:0"]
        if settings:
            (folder / "settings.toml").write_text(settings)
            command += ["--config", folder / "settings.toml"]
        self.process = subprocess.Popen(
            [*map(str, command), *map(str, options)],
            env=environment(folder, env),
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines = []
        self.news = threading.Condition()
        self.ended = False
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        self.clients = []
        self.port = int(self.wait_for_log(r"listening on https?://[^ ]*:(\d+)")[1])
        self.url = f"ws://127.0.0.1:{self.port}/ws"

    def _read(self):
        for line in self.process.stderr:
            with self.news:
                self.lines.append(line.rstrip("\n"))
                self.news.notify_all()
        with self.news:
            self.ended = True
            self.news.notify_all()

    @property
    def log(self):
        return "\n".join(self.lines)

    def wait_for_log(self, pattern, timeout=PATIENCE):
        """The match of the first log line that fits."""

        def found():
            return next(filter(None, (re.search(pattern, line) for line in self.lines)), None)

        with self.news:
            self.news.wait_for(lambda: found() or self.ended, timeout)
            match = found()
        assert match, f"no log line {pattern!r} in:\n{self.log}"
        return match

    def client(self, **options):
        client = Client(options.pop("url", self.url), **options)
        self.clients.append(client)
        return client

    def at(self, address):
        """Where it is, by another of the loopback's addresses."""
        return f"ws://{address}:{self.port}/ws"

    def token(self, role="host", user="ana", *more, ttl="1h"):
        """A token of this rig's."""
        arguments = ("token", "--role", role, "--user", user, "--ttl", ttl, *more)
        printed = run(self.folder, *arguments, "--state-dir", self.state)
        assert printed.returncode == 0, printed.stderr
        return printed.stdout.strip()

    def enter(self, role="host", user="ana", *more, **options):
        """Somebody who has come by a token."""
        token = self.token(role, user, *more)
        headers = {"Authorization": f"Bearer {token}"}
        return self.client(additional_headers=headers, **options)

    def pair(self, code, user_id, source="127.0.0.1"):
        """(status, body) of a pairing."""
        body = json.dumps({"code": code, "user_id": user_id})
        connection = http.client.HTTPConnection(
            "127.0.0.1", self.port, timeout=PATIENCE, source_address=(source, 0)
        )
        try:
            connection.request("POST", "/api/pair", body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()

    def http(self, path, method="GET", headers=(), port=None, body=None, tls=None):
        """(status, headers, body). By https with a context for it."""
        at = ("127.0.0.1", port or self.port)
        if tls:
            connection = http.client.HTTPSConnection(*at, timeout=PATIENCE, context=tls)
        else:
            connection = http.client.HTTPConnection(*at, timeout=PATIENCE)
        try:
            connection.request(method, path, body=body, headers=dict(headers))
            response = connection.getresponse()
            return response.status, dict(response.getheaders()), response.read()
        finally:
            connection.close()

    def api(self, path, body=None, status=200, **headers):
        """What a request of the HTTP fallback is answered: GET, or POST with a body."""
        text = body if body is None or isinstance(body, (str, bytes)) else json.dumps(body)
        method = "GET" if body is None else "POST"
        headers = {"Content-Type": "application/json", **headers} if body is not None else headers
        got, answer_headers, answer = self.http("/api/" + path, method, headers, body=text)
        assert got == status, (got, answer)
        assert answer_headers["content-type"] == "application/json", answer_headers
        self.headers = answer_headers
        return json.loads(answer)

    def metrics(self, tls=None):
        """Every sample of `/metrics` by name and labels; the text must be what Prometheus reads."""
        status, headers, body = self.http("/metrics", tls=tls)
        assert status == 200 and headers["content-type"].startswith("text/plain; version=0.0.4")
        families = list(text_string_to_metric_families(body.decode()))
        names = [family.name for family in families]
        assert len(names) == len(set(names)), "each family once"
        for family in families:
            assert family.documentation and family.type in ("gauge", "counter", "histogram"), family
        return {
            (sample.name, *sample.labels.values()): sample.value
            for family in families
            for sample in family.samples
        }

    def bearer(self, role="host", user="ana"):
        """Headers with a token."""
        return {"Authorization": f"Bearer {self.token(role, user)}"}

    def stop(self, number=signal.SIGTERM):
        """Ends it as systemd would; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            code = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"rigd did not end:\n{self.log}") from None
        self.reader.join(PATIENCE)
        return code

    def finish(self):
        """What every test wants at its end: gone, with 0, and without a panic on the way."""
        for client in self.clients:
            client.close()
        code = self.stop()
        assert "panicked" not in self.log, self.log
        assert code == 0, f"exit code {code}\n{self.log}"


class Client:
    """One WebSocket connection. What arrived and was not asked for is held until `wait` takes it."""

    def __init__(self, url, **options):
        options = {"compression": None, "max_size": 2**24, "proxy": None, **options}
        if options.get("ssl"):
            # One thread reads, another writes: with TLS 1.3's tickets behind the handshake, Python's `ssl` then
            # breaks one connection in some hundreds on a busy machine. Clients of one thread use 1.3.
            options["ssl"].maximum_version = ssl.TLSVersion.TLSv1_2
        self.opened = ExitStack()
        self.ws = self.opened.enter_context(
            connect(
                url, max_queue=None, ping_interval=None, close_timeout=2, open_timeout=PATIENCE, **options
            )
        )
        self.count = 0
        self.held = []
        self.binary = []
        self.status = self.wait("connection.status")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.opened.close()

    def send(self, kind, data=None, **envelope):
        """Sends one message; its id."""
        self.count += 1
        message = {"id": f"m{self.count}", "type": kind, **envelope}
        if data is not None:
            message["data"] = data
        self.ws.send(json.dumps(message))
        return message["id"]

    def raw(self, payload):
        self.ws.send(payload)

    def receive(self, timeout=PATIENCE):
        """The next text message as it comes; binary ones are put aside."""
        deadline = time.monotonic() + timeout
        while True:
            frame = self.ws.recv(timeout=max(0.0, deadline - time.monotonic()))
            if isinstance(frame, str):
                return json.loads(frame)
            self.binary.append(frame)

    def take_binary(self, count, timeout=PATIENCE):
        """That many binary frames, from now on."""
        self.binary.clear()
        deadline = time.monotonic() + timeout
        while len(self.binary) < count:
            frame = self.ws.recv(timeout=max(0.0, deadline - time.monotonic()))
            if isinstance(frame, str):
                self.held.append(json.loads(frame))
            else:
                self.binary.append(frame)
        return self.binary[:count]

    def find(self, fits, what, timeout=PATIENCE):
        """The first message that fits, held or to come."""
        for index, message in enumerate(self.held):
            if fits(message):
                return self.held.pop(index)
        deadline = time.monotonic() + timeout
        while True:
            try:
                message = self.receive(max(0.0, deadline - time.monotonic()))
            except TimeoutError:
                kinds = [(held["type"], held["id"]) for held in self.held[-20:]]
                raise AssertionError(f"{what} did not come; what did: {kinds}") from None
            if fits(message):
                return message
            self.held.append(message)

    def wait(self, kind, timeout=PATIENCE, **fields):
        """The first message of that type with these fields in its data."""

        def fits(message):
            data = message.get("data", {})
            return message["type"] == kind and all(data.get(k) == v for k, v in fields.items())

        return self.find(fits, f"{kind} {fields or ''}", timeout)

    def answer(self, id, timeout=PATIENCE):
        """The reply or error to a message."""
        return self.find(lambda message: message["id"] == id, f"the answer to {id}", timeout)

    def ask(self, kind, data=None, **envelope):
        """Sends, and gives the reply, which must not be an error."""
        reply = self.answer(self.send(kind, data, **envelope))
        assert reply["type"] != "ERROR", f"{kind} {data}: {reply['data']}"
        assert reply["data"].get("success") is True or kind.lower() == "heartbeat", reply
        return reply

    def fail(self, code, kind, data=None, **envelope):
        """Sends what must be refused with `code`; the details of the error."""
        return refusal(code, self.answer(self.send(kind, data, **envelope)))

    def fence(self, kind="state.get"):
        """All that came before now: nothing numbered up to a snapshot may follow it."""
        id = self.send(kind)
        snapshot = self.answer(id)
        before, self.held = self.held, []
        return before, snapshot

    def silence(self, *kinds):
        """Nothing of these types has come; without any, nothing but who is here."""
        before, _ = self.fence()

        def is_meant(kind):
            return kind in kinds if kinds else kind != "session.presence"

        came = [message for message in before if is_meant(message["type"])]
        assert came == [], came

    def state(self):
        return self.ask("state.get")["data"]

    def plugin(self, plugin_id):
        """A plugin as the rig has it now, or None."""
        for track in self.state()["tracks"]:
            for plugin in track["plugins"]:
                if plugin["plugin_id"] == plugin_id:
                    return plugin
        return None

    def add(self, name="gain", plugin_id="g", track_id="mic1", **more):
        """A plugin; its parameters' address."""
        data = {"track_id": track_id, "name": name, "plugin_id": plugin_id, **more}
        self.ask("plugin.add", data)
        return {"track_id": track_id, "plugin_id": plugin_id}


def own_address():
    """An address of this machine that is not its loopback, or None."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return None
        return None if probe.getsockname()[0].startswith("127.") else probe.getsockname()[0]


def refusal(code, message):
    """The details of an error that must have this code."""
    assert message["type"] == "ERROR", message
    data = message["data"]
    assert data["code"] == code, data
    assert isinstance(data["error"], str) and len(data["error"]) > 10, "a sentence for a person"
    assert isinstance(data["details"], dict), data
    return data["details"]


def value(address, parameter_id, value):
    """One change of a parameter."""
    return {**address, "parameter_id": parameter_id, "value": value}


def seqs(messages):
    return [message["seq"] for message in messages if "seq" in message]
