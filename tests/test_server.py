"""A generator behind a server: llama.cpp's own, and one that misbehaves in every way."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from unruly_server import unruly

from rag import backends
from rag import server as servers
from rag.chatbot import Chatbot
from rag.datatypes import Message, Mode
from rag.errors import ModelError
from rag.models import SMOLLM2, generator_file
from rag.prompt import capable
from rag.server import ServerGenerator
from rag.settings import load

if TYPE_CHECKING:
    from conftest import RunRag

ASKED: list[Message] = [{"role": "user", "content": "How high is it?"}]
QUESTION = "How high is the lighthouse of Sant Oriol?"


@pytest.fixture(scope="module")
def real(cache: Path) -> Iterator[str]:
    """llama-cpp-python's own server with the embedded generator."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    model = generator_file(SMOLLM2.name, cache)
    command = [sys.executable, "-m", "llama_cpp.server", "--model", str(model), "--n_ctx", "2048"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--api_key", "sesame"]
    environment = {name: value for name, value in os.environ.items() if name != "HOST"}
    module = backends.variants().get(backends.load_best())
    if module:  # else the arithmetic is linked in
        environment["GGML_BACKEND_PATH"] = str(module)
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
    ) as process:
        until = time.monotonic() + 120
        while time.monotonic() < until and process.poll() is None:
            with socket.socket() as attempt:
                if attempt.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/v1"
        process.kill()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Less patience than there is."""
    monkeypatch.setattr(servers, "READ_S", 0.6)
    monkeypatch.setattr(servers, "RETRIES", 0)


def test_a_real_server_answers_a_question_with_checked_citations(
    chatbot: Chatbot, index_folder: Path, real: str
) -> None:
    settings = load(index=index_folder, generator=real, api_key="sesame")
    bot = Chatbot.open(settings)
    bot.load()
    answers = list(bot.ask(QUESTION))
    assert len(answers) > 3, "it streams"
    answer = answers[-1]
    assert answer.mode is not Mode.REFUSED
    assert "37 metres" in answer.text
    assert answer.model == bot._generator.name != real
    for citation in answer.citations:
        article = bot.index.article(citation.quote.article_id)
        assert article is not None
        assert article.text[citation.quote.start : citation.quote.end] == citation.quote.text


def test_a_real_server_says_when_the_key_is_another(real: str) -> None:
    with pytest.raises(ModelError, match=r"does not accept the key.*RAG_API_KEY"):
        list(ServerGenerator(real, "any", "wrong").stream(ASKED))


def test_the_text_comes_as_it_is_written_and_the_first_model_is_taken() -> None:
    with unruly() as (address, seen):
        generator = ServerGenerator(f"{address}/fine/v1", "", "")
        assert "".join(generator.stream(ASKED)) == "Thirty-seven metres."
        assert generator.name == "unruly"
        assert seen[-1][2]["messages"] == ASKED
        assert seen[-1][2]["max_tokens"] == capable(2048).answer_tokens


def test_the_key_is_sent_to_the_server_named_and_the_environments_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "for-somebody-else")
    monkeypatch.setenv("OPENAI_ORG_ID", "an-organisation")
    with unruly() as (address, seen):
        list(ServerGenerator(f"{address}/fine/v1", "m", "mine").stream(ASKED))
        list(ServerGenerator(f"{address}/fine/v1", "m", "").stream(ASKED))
    sent = [str(headers) for _, headers, _ in seen]
    assert "Bearer mine" in sent[0]
    assert not any("somebody" in text or "an-organisation" in text for text in sent)


@pytest.mark.parametrize(("told", "taken"), [(4096, 4096), (131_072, 8192), (3, 2048)])
def test_the_context_is_what_the_server_says_within_reason(told: int, taken: int) -> None:
    with unruly() as (address, seen):
        generator = ServerGenerator(f"{address}/tells-{told}/v1", "", "")
        list(generator.stream(ASKED))
    assert generator.context == taken
    assert seen[-1][2]["max_tokens"] == capable(taken).answer_tokens


def test_a_server_is_chosen_by_command_when_it_answers(
    run_rag: "RunRag", index_folder: Path, tmp_path: Path
) -> None:
    home = {"XDG_CONFIG_HOME": str(tmp_path)}
    with unruly() as (address, _):
        chosen = run_rag("models", "use", f"{address}/fine/v1", **home)
        assert "It answers, as unruly" in chosen.stdout
        asked = run_rag("ask", QUESTION, "--index", index_folder, **home)
    assert asked.stdout.rstrip().endswith("unruly")
    gone = run_rag("models", "use", f"{address}/fine/v1", **home)
    assert gone.returncode == 1
    assert "cannot be reached" in gone.stderr


def test_what_is_thought_is_kept_apart() -> None:
    with unruly() as (address, _):
        said = "".join(ServerGenerator(f"{address}/thinks/v1", "m", "").stream(ASKED))
    assert said == "<think>It is a lighthouse.</think>Thirty-seven metres."


def test_a_stop_hangs_up_at_once() -> None:
    with unruly() as (address, _):
        pieces = ServerGenerator(f"{address}/slow/v1", "m", "").stream(ASKED)
        assert next(pieces) == "Thirty-seven"
        began = time.monotonic()
        pieces.close()
        assert time.monotonic() - began < 0.4


def test_what_fails_before_anything_came_is_tried_again() -> None:
    with unruly() as (address, seen):
        said = "".join(ServerGenerator(f"{address}/once-500/v1", "m", "").stream(ASKED))
    assert said == "Thirty-seven metres."
    assert len(seen) == 2


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("manner", "told"),
    [
        ("401", "does not accept the key"),
        ("403", "does not accept the key"),
        ("404", "knows no model 'm'"),
        ("429", "has too much to do"),
        ("500", r"failed \(status 500\)"),
        ("503", r"failed \(status 503\)"),
        ("not-json", "does not answer as OpenAI's API does"),
        ("no-choices", "does not answer as OpenAI's API does"),
        ("silent", "has not answered for"),
        ("stalls", "has not answered for"),
        ("hangs-up", "broke off in the middle"),
        ("unended", "broke off in the middle"),
    ],
)
def test_every_misbehaviour_is_told_in_one_line_and_never_tried_again_midway(
    manner: str, told: str
) -> None:
    with unruly() as (address, seen):
        with pytest.raises(ModelError, match=told) as error:
            list(ServerGenerator(f"{address}/{manner}/v1", "m", "secret-key").stream(ASKED))
        assert len(seen) == 1
    assert address in str(error.value)
    assert "secret-key" not in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("path", "told"),
    [("no-models/v1", "offers no model"), ("html/v1", "does not answer as OpenAI's API does")],
)
def test_what_is_no_such_server_is_told_before_anything_is_asked(path: str, told: str) -> None:
    with unruly() as (address, _), pytest.raises(ModelError, match=told):
        ServerGenerator(f"{address}/{path}", "", "").load()


@pytest.mark.usefixtures("quick")
def test_nobody_there_is_told_with_the_address() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    with pytest.raises(ModelError, match=f"{address} cannot be reached"):
        ServerGenerator(address, "", "").load()


def test_the_key_shows_nowhere(capsys: pytest.CaptureFixture[str]) -> None:
    settings = load(generator="http://127.0.0.1:9/v1", api_key="open-sesame")
    print(settings, repr(settings))
    assert "open-sesame" not in capsys.readouterr().out
