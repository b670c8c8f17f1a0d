"""A deployed endpoint under test: a real HTTP server that speaks OpenAI's protocol around a tiny model.

The server is the standard library's, because `transformers serve` needs packages (fastapi, uvicorn) that nothing else
here does. It generates with transformers, as a real one would.
"""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tiny_policy import TinyPolicy, questions, write_jsonl
from typer.testing import CliRunner

import govern
from govern.cli import app
from govern.errors import SourceError, UsageError
from govern.evaluation.endpoint import Endpoint, _text_of, form_of, generate, letter_in, prompt_of
from govern.evaluation.questions import Question
from govern.models import load_model, load_tokenizer

KEY = "a-key-that-nobody-may-see"


class Server:
    """Answers completions and chats by `say`, and notes what it was asked."""

    def __init__(self, say: Callable[[str], str], status: int = 200) -> None:
        self.say, self.status = say, status
        self.asked: list[tuple[str, dict, str | None]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.asked.append((self.path, body, self.headers["Authorization"]))
                if outer.status != 200:
                    self.send_response(outer.status)
                    self.send_header("Location", "http://localhost:1/elsewhere")
                    self.end_headers()
                    self.wfile.write(json.dumps({"echo": body}).encode())
                    return
                if self.path.endswith("/chat/completions"):
                    choice = {"message": {"content": outer.say(body["messages"][0]["content"])}}
                else:
                    choice = {"text": outer.say(body["prompt"])}
                self.send_response(200)
                self.end_headers()
                self.wfile.write(json.dumps({"choices": [choice]}).encode())

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http.server_port}/v1"


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def start(say: Callable[[str], str], status: int = 200) -> Server:
        servers.append(Server(say, status))
        return servers[-1]

    yield start
    for server in servers:
        server.http.shutdown()
        server.http.server_close()


def invoke(policy: TinyPolicy, server: Server, *more: str):
    return CliRunner().invoke(
        app,
        ["verify", "--workspace", str(policy.workspace), "--endpoint", server.url, "--endpoint-model", "tiny", *more],
    )


@pytest.mark.slow
def test_the_same_model_behind_an_endpoint_answers_alike(tiny_policy: TinyPolicy, tiny_llama: Path, serve):
    govern.apply(tiny_policy.path, workspace=tiny_policy.workspace)
    exported = tiny_policy.path.parent / "exported"
    done = CliRunner().invoke(app, ["export", "latest", str(exported), "--workspace", str(tiny_policy.workspace)])
    assert done.exit_code == 0, done.output
    import torch

    model, tokenizer = load_model(exported, dtype=torch.float32), load_tokenizer(exported)
    lock = threading.Lock()

    def say(prompt: str) -> str:
        with lock:
            return generate(model, tokenizer, [prompt], form_of(tokenizer), stage="serve")[0]

    server = serve(say)
    done = invoke(tiny_policy, server, "--json")
    verdict = json.loads(done.stdout)
    (check,) = verdict["endpoint"]
    assert (check["task"], check["model"], check["form"], check["n"]) == ("secret", "tiny", "completion", 24)
    assert check["as_edited"] == 24
    gate = verdict["gates"][-1]
    assert (gate["task"], gate["kind"], gate["threshold"]) == ("secret (endpoint)", "ceiling", 0.9)
    # A random model names no letters, and a model that does not answer has not forgotten anything.
    assert gate["verdict"] == "inconclusive"
    assert {path for path, _, _ in server.asked} == {"/v1/completions"}
    assert all(body["temperature"] == 0 for _, body, _ in server.asked)
    report = CliRunner().invoke(app, ["report", "export", "--format", "sarif", "--out", str(exported / "g.sarif"),
                                      "--workspace", str(tiny_policy.workspace)])  # fmt: skip
    assert report.exit_code == 0, report.output


def test_an_endpoint_that_still_knows_fails_the_removal_and_nobody_sees_the_key(
    tiny_policy: TinyPolicy, serve, monkeypatch
):
    monkeypatch.setenv("GOVERN_ENDPOINT_KEY", KEY)
    tiny_policy.replace("ceiling: 0.9", "ceiling: 0.4")
    answers = {f"The secret of number {n} is": "ABCD"[n % 4] for n in range(24)}
    server = serve(lambda prompt: f" {answers[prompt.splitlines()[0]]}.")
    govern.apply(tiny_policy.path, workspace=tiny_policy.workspace)
    done = invoke(tiny_policy, server)
    assert done.exit_code == 3
    said = " ".join(done.output.split())
    assert "secret (endpoint)" in said
    assert "0 name no choice" in said
    assert {key for _, _, key in server.asked} == {f"Bearer {KEY}"}
    written = [path.read_bytes() for path in tiny_policy.workspace.rglob("*") if path.is_file()]
    assert not any(KEY.encode() in data for data in [*written, done.output.encode()])
    assert KEY not in repr(Endpoint(server.url, "tiny", KEY))


def test_with_fail_fast_an_endpoint_is_not_asked_once_a_gate_has_failed(tiny_policy: TinyPolicy, serve):
    # A model that guesses is right for a quarter of the questions.
    write_jsonl(tiny_policy.path.parent / "secret.jsonl", questions("secret", 200))
    tiny_policy.replace("ceiling: 0.9", "ceiling: 0.01")
    server = serve(lambda prompt: "A")
    govern.apply(tiny_policy.path, workspace=tiny_policy.workspace)
    done = invoke(tiny_policy, server, "--fail-fast", "--json")
    assert done.exit_code == 3, done.output
    assert "secret (endpoint)" in json.loads(done.stdout)["sequential"]["unjudged"]
    assert server.asked == []


@pytest.mark.parametrize("status", [302, 401, 404])
def test_an_endpoint_that_refuses_is_named_without_what_was_asked(serve, status, monkeypatch):
    server = serve(lambda prompt: "A", status)
    with pytest.raises(SourceError, match=f"status {status}") as caught:
        Endpoint(server.url, "tiny", KEY).ask(["a hazardous question"], "chat", stage="ask")
    assert "hazardous" not in str(caught.value)
    assert len(server.asked) == 1


@pytest.mark.parametrize("begun", [b"", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_an_answer_that_only_drips_is_given_up(begun, monkeypatch):
    monkeypatch.setattr("govern.evaluation.endpoint._SECONDS", 0.4)
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def drip() -> None:
            connection, _ = listening.accept()
            with connection, contextlib.suppress(OSError):
                connection.sendall(begun)
                while not over.wait(0.1):
                    connection.sendall(b"x")

        thread = threading.Thread(target=drip)
        thread.start()
        started = time.monotonic()
        with pytest.raises(SourceError, match=r"within 0\.4 seconds"):
            Endpoint(f"http://127.0.0.1:{listening.getsockname()[1]}/v1", "tiny").ask(["?"], "completion", stage="ask")
        assert time.monotonic() - started < 5
        over.set()
        thread.join()


@pytest.mark.parametrize(
    "reply", [b"<html>", b"\xff\xfe", b"[" * 200_000, b'{"choices": []}', b'{"choices": [{"text": 1}]}', b"null"]
)
def test_an_answer_in_no_known_form_is_refused(reply):
    with pytest.raises(SourceError, match="OpenAI's form"):
        _text_of(reply, "completion", "http://localhost:1/v1/completions")


def test_an_endpoint_that_is_down_is_tried_again_and_then_named(serve, monkeypatch):
    monkeypatch.setattr("govern.evaluation.endpoint.time.sleep", lambda seconds: None)
    server = serve(lambda prompt: "A", 503)
    with pytest.raises(SourceError, match="status 503"):
        Endpoint(server.url, "tiny").ask(["q"], "completion", stage="ask")
    assert len(server.asked) == 4
    with pytest.raises(SourceError, match="cannot be reached: ConnectionRefusedError"):
        Endpoint("http://127.0.0.1:9/v1", "tiny").ask(["q"], "completion", stage="ask")


@pytest.mark.parametrize(
    ("url", "key", "said"),
    [
        ("localhost:8000", None, "no endpoint's URL"),
        ("file:///etc/passwd", None, "no endpoint's URL"),
        ("http://user:secret@host/v1", None, "no credentials"),
        ("https://host/v1?key=secret", None, "no credentials"),
        ("http://example.org/v1", KEY, "in the clear"),
        ("http://[::1", None, "no endpoint's URL"),
        ("http://localhost:8000/v 1", None, "no endpoint's URL"),
        ("http://localhost:8000/v1\n", None, "no endpoint's URL"),
    ],
)
def test_what_is_no_endpoint_is_refused(url, key, said):
    with pytest.raises(UsageError, match=said) as caught:
        Endpoint(url, "tiny", key)
    assert "secret" not in str(caught.value)


def test_both_options_go_together(tiny_policy: TinyPolicy):
    done = CliRunner().invoke(app, ["verify", "--endpoint", "http://localhost/v1"])
    assert isinstance(done.exception, UsageError)


@pytest.mark.parametrize(
    ("text", "index"),
    [
        ("B", 1),
        (" B.", 1),
        ("(C) because", 2),
        ("(C)", 2),
        ("D) the last", 3),
        ("**A**", 0),
        ("The answer is B.", 1),
        ("Answer: (d)", 3),
        ("A virus is a small thing", -1),
        ("I cannot help with that.", -1),
        ("E", -1),
        ("", -1),
    ],
)
def test_a_letter_is_read_where_an_answer_names_one(text, index):
    assert letter_in(text, 4) == index


def test_a_chat_is_asked_for_a_letter_alone():
    question = Question("id", "Which?", ("this", "that"), 0, None)
    assert prompt_of(question, "completion") == "Which?\nA. this\nB. that\nAnswer:"
    assert prompt_of(question, "chat").endswith("nothing else.\n\nWhich?\nA. this\nB. that\nAnswer:")
