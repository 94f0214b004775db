"""A language model on a server: llama.cpp's own server, and one that misbehaves in every way."""

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fixture_types import RunRag
from unruly_server import unruly

from rag.answering.chatbot import Chatbot
from rag.errors import ModelError
from rag.models.generation import backends, openai_client
from rag.models.generation.openai_client import ServerGenerator
from rag.models.generation.prompts import general_profile
from rag.models.resolve import SMOLLM2, generator_file
from rag.settings import load
from rag.types import Message, Mode

MESSAGES: list[Message] = [{"role": "user", "content": "How high is it?"}]
QUESTION = "How high is the lighthouse of Sant Oriol?"


@pytest.fixture(scope="module")
def real_server(cache: Path) -> Iterator[str]:
    """The address of llama-cpp-python's own server with the embedded generator."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    model = generator_file(SMOLLM2.name, cache)
    command = [sys.executable, "-m", "llama_cpp.server", "--model", str(model), "--n_ctx", "2048"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--api_key", "sesame"]
    environment = {name: value for name, value in os.environ.items() if name != "HOST"}
    module = backends.variants().get(backends.load_best())
    if module:  # otherwise, the backend is linked in
        environment["GGML_BACKEND_PATH"] = str(module)
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
    ) as process:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and process.poll() is None:
            with socket.socket() as attempt:
                if attempt.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/v1"
        process.kill()


@pytest.fixture
def short_timeouts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shortens the read timeout, and disables retries."""
    monkeypatch.setattr(openai_client, "READ_TIMEOUT_S", 0.6)
    monkeypatch.setattr(openai_client, "MAX_RETRIES", 0)


def test_a_real_server_answers_a_question_with_checked_citations(
    chatbot: Chatbot, index_folder: Path, real_server: str
) -> None:
    settings = load(index=index_folder, generator=real_server, generator_api_key="sesame")
    bot = Chatbot.open(settings)
    bot.load()
    answers = list(bot.ask(QUESTION))
    assert len(answers) > 3, "the answer is not streamed"
    answer = answers[-1]
    assert answer.mode is not Mode.REFUSED
    assert re.search(r"\b37 met(re|er)s\b", answer.text)
    assert answer.model == bot._generator.name != real_server
    for citation in answer.citations:
        article = bot.index.article(citation.quote.article_id)
        assert article is not None
        assert article.text[citation.quote.start : citation.quote.end] == citation.quote.text


def test_a_real_server_rejects_a_wrong_key(real_server: str) -> None:
    with pytest.raises(ModelError, match=r"rejects the API key.*RAG_GENERATOR_API_KEY"):
        list(ServerGenerator(real_server, "any", "wrong").stream(MESSAGES))


def test_text_is_streamed_and_the_first_model_is_used() -> None:
    with unruly() as (address, requests):
        generator = ServerGenerator(f"{address}/fine/v1", "", "")
        assert "".join(generator.stream(MESSAGES)) == "Thirty-seven metres."
        assert generator.name == "unruly"
        assert requests[-1][2]["messages"] == MESSAGES
        assert requests[-1][2]["max_tokens"] == general_profile(2048).answer_tokens


def test_only_the_configured_key_is_sent_to_the_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "for-somebody-else")
    monkeypatch.setenv("OPENAI_ORG_ID", "an-organisation")
    with unruly() as (address, requests):
        list(ServerGenerator(f"{address}/fine/v1", "m", "mine").stream(MESSAGES))
        list(ServerGenerator(f"{address}/fine/v1", "m", "").stream(MESSAGES))
    sent = [str(headers) for _, headers, _ in requests]
    assert "Bearer mine" in sent[0]
    assert not any("somebody" in text or "an-organisation" in text for text in sent)


@pytest.mark.parametrize(("reported", "used"), [(4096, 4096), (131_072, 8192), (3, 2048)])
def test_a_plausible_context_that_the_server_reports_is_used(reported: int, used: int) -> None:
    with unruly() as (address, requests):
        generator = ServerGenerator(f"{address}/tells-{reported}/v1", "", "")
        list(generator.stream(MESSAGES))
    assert generator.context == used
    assert requests[-1][2]["max_tokens"] == general_profile(used).answer_tokens


def test_a_server_that_answers_can_be_chosen_by_command(
    run_rag: RunRag, index_folder: Path, tmp_path: Path
) -> None:
    home = {"XDG_CONFIG_HOME": str(tmp_path)}
    with unruly() as (address, _):
        chosen = run_rag("models", "use", f"{address}/fine/v1", **home)
        assert "The server answers as unruly" in chosen.stdout
        answered = run_rag("ask", QUESTION, "--index", index_folder, **home)
    assert answered.stdout.rstrip().endswith("unruly")
    gone = run_rag("models", "use", f"{address}/fine/v1", **home)
    assert gone.returncode == 1
    assert "cannot be reached" in gone.stderr


def test_reasoning_is_marked() -> None:
    with unruly() as (address, _):
        text = "".join(ServerGenerator(f"{address}/thinks/v1", "m", "").stream(MESSAGES))
    assert text == "<think>It is a lighthouse.</think>Thirty-seven metres."


def test_closing_the_stream_closes_the_connection_at_once() -> None:
    with unruly() as (address, _):
        pieces = ServerGenerator(f"{address}/slow/v1", "m", "").stream(MESSAGES)
        assert next(pieces) == "Thirty-seven"
        started = time.monotonic()
        pieces.close()
        assert time.monotonic() - started < 0.4


def test_a_request_that_fails_before_the_answer_is_retried() -> None:
    with unruly() as (address, requests):
        text = "".join(ServerGenerator(f"{address}/once-500/v1", "m", "").stream(MESSAGES))
    assert text == "Thirty-seven metres."
    assert len(requests) == 2


@pytest.mark.usefixtures("short_timeouts")
@pytest.mark.parametrize(
    ("manner", "message"),
    [
        ("401", "rejects the API key"),
        ("403", "rejects the API key"),
        ("404", "has no model 'm'"),
        ("429", "is over its rate limit"),
        ("500", r"failed with HTTP status 500"),
        ("503", r"failed with HTTP status 503"),
        ("not-json", "does not implement the OpenAI API"),
        ("no-choices", "does not implement the OpenAI API"),
        ("silent", "has not answered for"),
        ("stalls", "has not answered for"),
        ("hangs-up", "closed the connection in the middle"),
        ("unended", "closed the connection in the middle"),
    ],
)
def test_every_misbehaviour_is_a_one_line_error_and_is_not_retried_midway(
    manner: str, message: str
) -> None:
    with unruly() as (address, requests):
        with pytest.raises(ModelError, match=message) as error:
            list(ServerGenerator(f"{address}/{manner}/v1", "m", "secret-key").stream(MESSAGES))
        assert len(requests) == 1
    assert address in str(error.value)
    assert "secret-key" not in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.usefixtures("short_timeouts")
@pytest.mark.parametrize(
    ("path", "message"),
    [("no-models/v1", "lists no model"), ("html/v1", "does not implement the OpenAI API")],
)
def test_another_kind_of_server_is_an_error_before_any_question(path: str, message: str) -> None:
    with unruly() as (address, _), pytest.raises(ModelError, match=message):
        ServerGenerator(f"{address}/{path}", "", "").load()


@pytest.mark.usefixtures("short_timeouts")
def test_the_error_for_an_unreachable_server_names_the_address() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    with pytest.raises(ModelError, match=f"{address} cannot be reached"):
        ServerGenerator(address, "", "").load()


def test_the_key_is_never_printed(capsys: pytest.CaptureFixture[str]) -> None:
    settings = load(generator="http://127.0.0.1:9/v1", generator_api_key="open-sesame")
    print(settings, repr(settings))
    assert "open-sesame" not in capsys.readouterr().out
