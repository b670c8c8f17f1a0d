"""Questions put to a model as text to go on with: to one in memory, and to a deployed one behind an HTTP endpoint.

The endpoint speaks OpenAI's protocol, as vLLM, `transformers serve`, llama.cpp and others do: POST URL/chat/completions
where the model's tokenizer has a chat template, URL/completions where it has none. Nothing of a question, an answer or
the key is in any error.
"""

from __future__ import annotations

import http.client
import ipaddress
import json
import re
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from string import ascii_uppercase
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from govern.corpora import encode
from govern.errors import SourceError, UsageError
from govern.evaluation.generation import continued
from govern.evaluation.questions import Question
from govern.progress import Progress, silent

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Form = Literal["chat", "completion"]

KEY_VARIABLE = "GOVERN_ENDPOINT_KEY"

_LONGEST_ANSWER = 16  # tokens: room for "The answer is B."
_AT_ONCE = 8
_TRIES = 4
_LONGEST_REPLY = 1 << 20  # bytes
_SECONDS = 120.0
_ASKING = "Answer the question with the letter of the right choice and nothing else."
_ANSWER = (
    re.compile(r"^\W*([A-Z])(?:\W*$|[.:)\]]|\s*\n)"),
    re.compile(r"\b(?:answer|choice|option)\b(?:\s+is)?\s*:?\s*[(\[*\"']*([A-Z])\b", re.IGNORECASE),
)


@dataclass(frozen=True)
class Endpoint:
    """Where a deployed model answers: a base URL such as http://localhost:8000/v1, its name there, and a key."""

    url: str
    model: str
    key: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
            host = parts.hostname
            _ = parts.port
        except ValueError:
            host = parts = None
        blank = any(letter.isspace() for letter in self.url)
        if blank or parts is None or parts.scheme not in ("http", "https") or not host:
            raise UsageError("this is no endpoint's URL", hint="Name its base, such as http://localhost:8000/v1.")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise UsageError(
                "an endpoint's URL holds no credentials and no query",
                where=host,
                hint=f"Put the key into the environment variable {KEY_VARIABLE}.",
            )
        if self.key and parts.scheme == "http" and not _is_here(host):
            raise UsageError(
                "the key would go over the network in the clear",
                where=host,
                hint=f"Use https, or unset {KEY_VARIABLE} where the endpoint needs none.",
            )

    def ask(self, prompts: Sequence[str], form: Form, *, stage: str, progress: Progress = silent) -> list[str]:
        """What the model says to each prompt, greedily. Raises SourceError where it does not answer as it should."""
        answers = []
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            asked = [pool.submit(self._ask, prompt, form) for prompt in prompts]
            try:
                for answer in asked:
                    answers.append(answer.result())
                    progress(stage, len(answers), len(prompts))
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        return answers

    def _ask(self, prompt: str, form: Form) -> str:
        given: dict[str, Any] = (
            {"messages": [{"role": "user", "content": prompt}]} if form == "chat" else {"prompt": prompt}
        )
        url = f"{self.url.rstrip('/')}/{'chat/completions' if form == 'chat' else 'completions'}"
        request = urllib.request.Request(  # noqa: S310  the scheme is one of two
            url,
            data=json.dumps({"model": self.model, "max_tokens": _LONGEST_ANSWER, "temperature": 0, **given}).encode(),
            headers={
                "Content-Type": "application/json",
                **({"Authorization": f"Bearer {self.key}"} if self.key else {}),
            },
        )
        opener = _OPENER_HERE if _is_here(urlsplit(url).hostname or "") else _OPENER
        for attempt in range(1, _TRIES + 1):
            deadline = _Deadline()
            try:
                with deadline, opener.open(request, timeout=_SECONDS) as reply:
                    read = reply.read(_LONGEST_REPLY)
                if not deadline.passed:
                    return _text_of(read, form, url)
            except urllib.error.HTTPError as error:
                problem = f"the endpoint answered with status {error.code}"
                error.close()
                if error.code not in (408, 429) and error.code < 500:
                    break
            except (OSError, http.client.HTTPException) as error:
                problem = f"the endpoint cannot be reached: {type(getattr(error, 'reason', error)).__name__}"
            if deadline.passed:
                problem = f"the endpoint did not finish an answer within {_SECONDS:g} seconds"
                break
            if attempt < _TRIES:
                time.sleep(0.5 * 2**attempt)
        raise SourceError(
            problem, where=url, hint=f"Check the URL and the model's name there; a key comes from {KEY_VARIABLE}."
        )


class _Deadline:
    """Cuts this thread's connection `_SECONDS` after it began, since a timeout starts anew with every byte."""

    def __init__(self) -> None:
        self.passed = False
        self._socket: socket.socket | None = None
        self._timer = threading.Timer(_SECONDS, self._cut)
        self._timer.daemon = True

    def __enter__(self) -> None:
        _waiting.deadline = self
        self._timer.start()

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    def watch(self, connected: socket.socket) -> None:
        self._socket = connected
        if self.passed:
            self._cut()

    def _cut(self) -> None:
        self.passed = True
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)


_waiting = threading.local()


class _Connection(http.client.HTTPConnection):
    def connect(self) -> None:
        super().connect()
        _waiting.deadline.watch(self.sock)


class _SecureConnection(http.client.HTTPSConnection):
    def connect(self) -> None:
        super().connect()
        _waiting.deadline.watch(self.sock)


class _Open(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_Connection, req)


class _OpenSecurely(urllib.request.HTTPSHandler):
    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_SecureConnection, req)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A key is for the host that was named, so nobody is followed elsewhere."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirect, _Open, _OpenSecurely)

# A key in the clear is for this machine alone, so no proxy hears of it.
_OPENER_HERE = urllib.request.build_opener(_NoRedirect, _Open, _OpenSecurely, urllib.request.ProxyHandler({}))


def _text_of(reply: bytes, form: Form, url: str) -> str:
    try:
        choice = json.loads(reply)["choices"][0]
        text = choice["message"]["content"] if form == "chat" else choice["text"]
    except (ValueError, KeyError, IndexError, TypeError, RecursionError):
        text = 0
    if text is not None and not isinstance(text, str):
        raise SourceError("the endpoint does not answer in OpenAI's form", where=url)
    return text or ""


def form_of(tokenizer: PreTrainedTokenizerBase) -> Form:
    """How a model is spoken to: in a chat where its tokenizer has a template for one."""
    return "chat" if tokenizer.chat_template else "completion"


def prompt_of(question: Question, form: Form) -> str:
    """A question with its choices under letters."""
    listed = "".join(f"\n{letter}. {choice}" for letter, choice in zip(ascii_uppercase, question.choices, strict=False))
    prompt = f"{question.text.strip()}{listed}\nAnswer:"
    return f"{_ASKING}\n\n{prompt}" if form == "chat" else prompt


def letter_in(text: str, choices: int) -> int:
    """The index of the choice that an answer names, −1 where it names none."""
    known = ascii_uppercase[:choices]
    for pattern in _ANSWER:
        found = pattern.search(text)
        if found and found[1].upper() in known:
            return known.index(found[1].upper())
    return -1


def generate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    form: Form,
    *,
    stage: str,
    progress: Progress = silent,
) -> list[str]:
    """What a model in memory says to each prompt, greedily."""
    rows = [_ids(tokenizer, prompt, form) for prompt in prompts]
    return continued(model, tokenizer, rows, _LONGEST_ANSWER, stage=stage, progress=progress)


def _ids(tokenizer: PreTrainedTokenizerBase, prompt: str, form: Form) -> list[int]:
    if form == "completion":
        return encode(prompt, tokenizer)
    message = [{"role": "user", "content": prompt}]
    text = str(tokenizer.apply_chat_template(message, add_generation_prompt=True, tokenize=False))
    return encode(text, tokenizer, special=False)


def _is_here(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
