"""Questions put to a model as text to go on with: to one in memory, and to a deployed one behind an HTTP endpoint.

The endpoint speaks OpenAI's protocol, as vLLM, `transformers serve`, llama.cpp and others do: POST URL/chat/completions
where the model's tokenizer has a chat template, URL/completions where it has none. Nothing of a question, an answer or
the key is in any error.
"""

from __future__ import annotations

import http.client
import json
import re
import time
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from string import ascii_uppercase
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from govern.corpora import encode
from govern.errors import SourceError, UsageError
from govern.evaluation.generation import continued
from govern.evaluation.questions import Question
from govern.progress import Progress, silent
from govern.web import TooSlow, exchange, is_here

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
        if self.key and parts.scheme == "http" and not is_here(host):
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
        for attempt in range(1, _TRIES + 1):
            try:
                answer = exchange(request, most=_LONGEST_REPLY, seconds=_SECONDS)
                if answer.status < 300:
                    return _text_of(answer.body, form, url)
                problem = f"the endpoint answered with status {answer.status}"
                if answer.status not in (408, 429) and answer.status < 500:
                    break
            except TooSlow:
                problem = f"the endpoint did not finish an answer within {_SECONDS:g} seconds"
                break
            except (OSError, http.client.HTTPException) as error:
                problem = f"the endpoint cannot be reached: {type(getattr(error, 'reason', error)).__name__}"
            if attempt < _TRIES:
                time.sleep(0.5 * 2**attempt)
        raise SourceError(
            problem, where=url, hint=f"Check the URL and the model's name there; a key comes from {KEY_VARIABLE}."
        )


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
