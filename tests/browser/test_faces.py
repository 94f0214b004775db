"""One question has one answer, whoever asks and by whatever way."""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from actions import answer, ask, open_page
from gradio_client import Client
from models import model, over_http, over_stdio
from openai import OpenAI
from playwright.sync_api import Page, expect
from serving import ROOT, Served

from rag import Chatbot
from rag.settings import load

Told = Mapping[str, Any]

QUESTIONS = {
    "written": "How long is the harbour bridge of Lindow?",
    "quoted": "What did the cleaner discover?",
    "refused": "Which chess opening does the grandmaster prefer?",
}
"""By the mode of their answers."""


def python(index: Path, page: Served, folder: Path) -> list[Told]:
    chatbot = Chatbot.open(load(index=index))
    return [chatbot.answer(question).as_json() for question in QUESTIONS.values()]


def gradio(index: Path, page: Served, folder: Path) -> list[Told]:
    client = Client(page.url, verbose=False, analytics_enabled=False)
    return [client.predict(question, api_name="/ask") for question in QUESTIONS.values()]


def openai(index: Path, page: Served, folder: Path) -> list[Told]:
    client = OpenAI(base_url=f"{page.url}v1", api_key="none")
    asked = [[{"role": "user", "content": question}] for question in QUESTIONS.values()]
    answers = (client.chat.completions.create(model="footnote", messages=said) for said in asked)  # type: ignore[arg-type]
    return [answer.model_dump()["footnote"] for answer in answers]


def mcp(index: Path, page: Served, folder: Path) -> list[Told]:
    with model(over_http(page)) as asking:
        return [asking.gets("ask_articles", question=asked) for asked in QUESTIONS.values()]


def mcp_on_stdio(index: Path, page: Served, folder: Path) -> list[Told]:
    with over_stdio(index, folder) as asking:
        return [asking.gets("ask_articles", question=asked) for asked in QUESTIONS.values()]


Face = Callable[[Path, Served, Path], list[Told]]
FACES: tuple[Face, ...] = (python, gradio, openai, mcp, mcp_on_stdio)
"""Each way to ask all QUESTIONS in a row, beside the command line and the page."""


@pytest.fixture(scope="module")
def by_command(index: Path, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Told]:
    """What `rag ask --json` answers to each question."""
    file = tmp_path_factory.mktemp("asked") / "questions.jsonl"
    file.write_text("".join(json.dumps({"question": q}) + "\n" for q in QUESTIONS.values()))
    command = [sys.executable, "-m", "rag", "ask", "--questions", str(file), "--json"]
    ran = subprocess.run(
        [*command, "--index", str(index)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return {told["question"]: told for told in map(json.loads, ran.stdout.splitlines())}


def without_times(told: Told) -> Told:
    return {key: value for key, value in told.items() if key != "timings"}


@pytest.mark.parametrize("face", FACES, ids=lambda face: face.__name__)
def test_whichever_way_a_program_asks_it_gets_the_answers_of_the_command(
    face: Face, by_command: Mapping[str, Told], index: Path, real: Served, tmp_path: Path
) -> None:
    told = face(index, real, tmp_path)
    expected = [by_command[question] for question in QUESTIONS.values()]
    assert [answer["mode"] for answer in expected] == list(QUESTIONS)
    assert list(map(without_times, told)) == list(map(without_times, expected))


@pytest.mark.parametrize("mode", QUESTIONS)
def test_a_reader_of_the_page_sees_the_answer_and_the_quotes_of_the_command(
    mode: str, by_command: Mapping[str, Told], page: Page, real: Served
) -> None:
    told = by_command[QUESTIONS[mode]]
    open_page(page, real.url)
    ask(page, QUESTIONS[mode])
    expect(answer(page).locator(".text")).to_have_text(told["answer"])
    cards = page.locator("#sources section:visible .source")
    expect(cards).to_have_count(len(told["citations"]))
    for card, cited in zip(cards.all(), told["citations"], strict=True):
        expect(card.locator("h3")).to_have_text(f"[{cited['marker']}] {cited['title']}")
        expect(card.locator("mark")).to_have_text(cited["quote"])
