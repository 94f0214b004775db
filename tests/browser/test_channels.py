"""A question has the same answer through every protocol."""

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

AnswerJson = Mapping[str, Any]

QUESTIONS = {
    "written": "How long is the harbour bridge of Lindow?",
    "quoted": "How was the missing globe found?",
    "refused": "Which chess opening does the grandmaster prefer?",
}
"""Mode of the answer → question."""


def python(index: Path, page: Served, folder: Path) -> list[AnswerJson]:
    chatbot = Chatbot.open(load(index=index))
    return [chatbot.answer(question).as_json() for question in QUESTIONS.values()]


def gradio(index: Path, page: Served, folder: Path) -> list[AnswerJson]:
    client = Client(page.url, verbose=False, analytics_enabled=False)
    return [client.predict(question, api_name="/ask") for question in QUESTIONS.values()]


def openai(index: Path, page: Served, folder: Path) -> list[AnswerJson]:
    client = OpenAI(base_url=f"{page.url}v1", api_key="none")
    answers = []
    for question in QUESTIONS.values():
        completion = client.chat.completions.create(
            model="footnote", messages=[{"role": "user", "content": question}]
        )
        answers.append(completion.model_dump()["footnote"])
    return answers


def mcp_over_http(index: Path, page: Served, folder: Path) -> list[AnswerJson]:
    with model(over_http(page)) as asking:
        return [asking.gets("ask_articles", question=each) for each in QUESTIONS.values()]


def mcp_over_stdio(index: Path, page: Served, folder: Path) -> list[AnswerJson]:
    with over_stdio(index, folder) as asking:
        return [asking.gets("ask_articles", question=each) for each in QUESTIONS.values()]


Channel = Callable[[Path, Served, Path], list[AnswerJson]]
CHANNELS: tuple[Channel, ...] = (python, gradio, openai, mcp_over_http, mcp_over_stdio)
"""Each asks all QUESTIONS one after another; the command line and the page come besides."""


@pytest.fixture(scope="module")
def by_command(index: Path, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, AnswerJson]:
    """Question → what `rag ask --json` prints."""
    file = tmp_path_factory.mktemp("asked") / "questions.jsonl"
    file.write_text("".join(json.dumps({"question": q}) + "\n" for q in QUESTIONS.values()))
    command = [sys.executable, "-m", "rag", "ask", "--questions", str(file), "--json"]
    ran = subprocess.run(
        [*command, "--index", str(index)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    answers = map(json.loads, ran.stdout.splitlines())
    return {answer["question"]: answer for answer in answers}


def without_timings(answer: AnswerJson) -> AnswerJson:
    return {key: value for key, value in answer.items() if key != "timings"}


@pytest.mark.parametrize("channel", CHANNELS, ids=lambda channel: channel.__name__)
def test_a_program_gets_the_answers_of_the_command_line_through_every_protocol(
    channel: Channel,
    by_command: Mapping[str, AnswerJson],
    index: Path,
    real: Served,
    tmp_path: Path,
) -> None:
    answers = channel(index, real, tmp_path)
    expected = [by_command[question] for question in QUESTIONS.values()]
    assert [answer["mode"] for answer in expected] == list(QUESTIONS)
    assert list(map(without_timings, answers)) == list(map(without_timings, expected))


@pytest.mark.parametrize("mode", QUESTIONS)
def test_a_reader_of_the_page_sees_the_answer_and_the_quotes_of_the_command_line(
    mode: str, by_command: Mapping[str, AnswerJson], page: Page, real: Served
) -> None:
    expected = by_command[QUESTIONS[mode]]
    open_page(page, real.url)
    ask(page, QUESTIONS[mode])
    expect(answer(page).locator(".text")).to_have_text(expected["answer"])
    cards = page.locator("#sources section:visible .source")
    expect(cards).to_have_count(len(expected["citations"]))
    for card, cited in zip(cards.all(), expected["citations"], strict=True):
        expect(card.locator("h3")).to_have_text(f"[{cited['marker']}] {cited['title']}")
        expect(card.locator("mark")).to_have_text(cited["quote"])
