"""Other RAG libraries compared: `benchmarks/peers.py SET [QUESTIONS] [--context N] [--save FILE]`.

Needs an extra, in a separate environment (it requires an older huggingface_hub): `pip install -e
'.[peers]'`. Asks LlamaIndex, LangChain, txtai and Footnote a fixed sample of a dataset's questions
(100), one after the other in one process, in rotating order, with the same articles, encoder and
generator (the same file). Every third title is left out of all
indexes, and a third of the questions are about those. An answer is right if it contains one of the
expected strings, whatever else it says. --save writes all answers, as JSON Lines.

Each system is set up as at the start of its documentation, with local models in the documented way:

- LlamaIndex: `VectorStoreIndex.from_documents(documents)` and `index.as_query_engine()`. A Document is
  an article, with its title as metadata. By default, sentences are packed to chunks of 1024 tokens, 200
  of them shared; the encoder takes in a chunk's first 256; the answer is written from the two nearest
  chunks, and refined with what of them did not fit into the first prompt. `Settings.embed_model` is a
  HuggingFaceEmbedding of the folder, `Settings.llm` a LlamaCPP of the file, whose prompts go through
  the chat template that the file holds (ChatML); `Settings.tokenizer` is the file's own, as LlamaCPP's
  page asks for. Temperature 0.1 and 256 new tokens are its defaults.
- LangChain: its tutorial's RecursiveCharacterTextSplitter of 1000 characters, 200 of them shared, an
  InMemoryVectorStore of HuggingFaceEmbeddings of the folder, the four nearest chunks of
  `similarity_search`, its hub's prompt for answering questions (RAG_PROMPT), and ChatLlamaCpp of the
  file, with its defaults of temperature 0.8 and 256 new tokens, but not of 8 tokens that are read at
  once.
- txtai: `Embeddings(path=…, content=True)` over paragraphs, as its Textractor cuts them, and the
  pipeline `RAG` with the prompt of its examples (TXTAI_PROMPT): the three nearest paragraphs, 512 new
  tokens.

`--context` is Footnote's 2048; 3900 is LlamaIndex' default, and spares most of its answers being
refined. Seeds are fixed. All generators have all cores but one. llama-cpp-python by itself takes all of
them to read a prompt, which is faster where nothing else runs, and far slower where something does, and
half of them to write.

The others refuse in words only: an answer is a refusal if it is empty, or contains one of REFUSALS and
is not right nevertheless. Nothing is downloaded: the sentence splitter's data comes with LlamaIndex.
"""

import argparse
import json
import os
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from answers import leave_out_articles, share
from common import SEED, Row, build_index, rows, sample, table

from rag.answering.chatbot import Chatbot
from rag.evaluation.runner import contains_answer
from rag.models.generation import backends
from rag.models.generation.llama import CONTEXT, requantised_weights
from rag.models.resolve import encoder_folder, generator_file
from rag.settings import Settings, load
from rag.types import Mode

LEFT_OUT = 3

REFUSALS = (
    "empty response|don't know|do not know|not sure|i'm sorry|i am sorry|cannot answer|can't answer"
    "|cannot be determined|unable to|no information|not enough information|not in the context"
    "|not mention|not provide|not specif|not state|not contain"
    "|n't mention|n't provide|n't specif|n't state|n't contain"
).split("|")
"""Phrases of refusals, in lower case with straight apostrophes."""

RAG_PROMPT = (
    "You are an assistant for question-answering tasks. Use the following pieces of retrieved context"
    " to answer the question. If you don't know the answer, just say that you don't know. Use three"
    " sentences maximum and keep the answer concise.\nQuestion: {question} \nContext: {context} \nAnswer:"
)

TXTAI_PROMPT = """Answer the following question using only the context below. Only include information
specifically discussed.

question: {question}
context: {context} """

Ask = Callable[[Row], tuple[str, bool]]
"""Returns the text of the answer to a question, and whether it is a refusal."""


@dataclass(frozen=True)
class Reply:
    row: Row
    text: str
    refused: bool
    seconds: float

    @classmethod
    def from_system(cls, ask: Ask, row: Row) -> "Reply":
        started_at = time.perf_counter()
        return cls(row, *ask(row), time.perf_counter() - started_at)

    @property
    def right(self) -> bool:
        return not self.refused and contains_answer(self.text, self.row["answers"])


def main(data: Path, sample_size: int, context: int, save: Path | None) -> None:
    answerable_rows = [row for row in rows(data / "questions.jsonl") if row.get("answers")]
    articles, questions = leave_out_articles(data, answerable_rows, LEFT_OUT)
    answerable = sample(
        [row for row in questions if not row["unanswerable"]], sample_size - sample_size // 3
    )
    unanswerable = sample([row for row in questions if row["unanswerable"]], sample_size // 3)
    settings = load(index=build_index(articles), threads=max(1, (os.cpu_count() or 1) - 1))
    systems = {name: build(settings, articles, context) for name, build in SYSTEMS.items()}
    replies: dict[str, list[Reply]] = {name: [] for name in systems}
    for number, row in enumerate([*answerable, *unanswerable]):
        for name in sorted(
            systems, key=lambda name: (list(systems).index(name) + number) % len(systems)
        ):
            replies[name].append(Reply.from_system(systems[name], row))
    print(
        table(
            ["answered by", *SCORE_COLUMNS],
            [[name, *score_row(own_replies)] for name, own_replies in replies.items()],
        )
    )
    if save:
        records = [
            {"system": name, **vars(r)}
            for name, own_replies in replies.items()
            for r in own_replies
        ]
        save.write_text("".join(json.dumps(line) + "\n" for line in records), encoding="utf-8")


def footnote(settings: Settings, articles: Path, context: int) -> Ask:
    chatbot = Chatbot.open(settings)
    chatbot.load()

    def ask(row: Row) -> tuple[str, bool]:
        *_, answer = chatbot.ask(row["question"])
        return answer.text, answer.mode is Mode.REFUSED

    return ask


def llamaindex(settings: Settings, articles: Path, context: int) -> Ask:
    from llama_cpp import Llama
    from llama_cpp.llama_chat_format import Jinja2ChatFormatter
    from llama_index import core
    from llama_index.embeddings.huggingface import HuggingFaceEmbedding
    from llama_index.llms.llama_cpp import LlamaCPP

    backends.load_best()
    file = generator(settings)
    vocabulary = Llama(file, vocab_only=True, verbose=False)
    source = vocabulary.metadata["tokenizer.chat_template"]
    template = Jinja2ChatFormatter(source, eos_token="", bos_token="")

    def prompt(*turns: tuple[str, str]) -> str:
        return template(messages=[{"role": role, "content": text} for role, text in turns]).prompt

    core.Settings.tokenizer = lambda text: vocabulary.tokenize(text.encode(), add_bos=False)
    core.Settings.embed_model = HuggingFaceEmbedding(encoder(settings))
    core.Settings.llm = LlamaCPP(
        model_path=file,
        context_window=context,
        generate_kwargs={"seed": SEED},
        model_kwargs={"n_threads": settings.threads, "n_threads_batch": settings.threads},
        messages_to_prompt=lambda messages: prompt(*((m.role.value, m.content) for m in messages)),
        completion_to_prompt=lambda text: prompt(("user", text)),
        verbose=False,
    )
    documents = [
        core.Document(text=row["text"], metadata={"title": row.get("title") or row["id"]})
        for row in rows(articles)
    ]
    engine = core.VectorStoreIndex.from_documents(documents).as_query_engine()

    def ask(row: Row) -> tuple[str, bool]:
        return judge(str(engine.query(row["question"])), row)

    return ask


def langchain(settings: Settings, articles: Path, context: int) -> Ask:
    from langchain_community.chat_models import ChatLlamaCpp
    from langchain_core.documents import Document
    from langchain_core.vectorstores import InMemoryVectorStore
    from langchain_huggingface import HuggingFaceEmbeddings
    from langchain_text_splitters import RecursiveCharacterTextSplitter

    documents = [
        Document(page_content=row["text"], metadata={"title": row.get("title") or row["id"]})
        for row in rows(articles)
    ]
    splitter = RecursiveCharacterTextSplitter(chunk_size=1000, chunk_overlap=200)
    store = InMemoryVectorStore(HuggingFaceEmbeddings(model_name=encoder(settings)))
    store.add_documents(splitter.split_documents(documents))
    model = ChatLlamaCpp(
        model_path=generator(settings),
        n_ctx=context,
        n_batch=512,
        n_threads=settings.threads,
        seed=SEED,
        verbose=False,
    )

    def ask(row: Row) -> tuple[str, bool]:
        documents_found = store.similarity_search(row["question"])
        context_text = "\n\n".join(document.page_content for document in documents_found)
        prompt_text = RAG_PROMPT.format(question=row["question"], context=context_text)
        return judge(str(model.invoke(prompt_text).content), row)

    return ask


def txtai(settings: Settings, articles: Path, context: int) -> Ask:
    from txtai import LLM, RAG, Embeddings

    paragraphs = [
        paragraph
        for row in rows(articles)
        for paragraph in re.split(r"\n\s*\n", row["text"])
        if paragraph.strip()
    ]
    embeddings = Embeddings(path=encoder(settings), content=True)
    embeddings.index(paragraphs)
    llm = LLM(
        generator(settings),
        method="llama.cpp",
        n_ctx=context,
        n_threads=settings.threads,
        n_threads_batch=settings.threads,
        seed=SEED,
    )
    rag = RAG(embeddings, llm, template=TXTAI_PROMPT, output="flatten")

    def ask(row: Row) -> tuple[str, bool]:
        return judge(str(rag(row["question"])), row)

    return ask


SYSTEMS = {
    "Footnote": footnote,
    "LlamaIndex": llamaindex,
    "LangChain": langchain,
    "txtai": txtai,
}


def encoder(settings: Settings) -> str:
    return str(encoder_folder(settings.encoder, settings.cache))


def generator(settings: Settings) -> str:
    """Return the file that Footnote runs."""
    name, cache = settings.generator, settings.cache
    return str(requantised_weights(name, generator_file(name, cache), cache))


def judge(reply: str, row: Row) -> tuple[str, bool]:
    """Return an answer's text, and whether it is a refusal."""
    text = reply.strip()
    lowered = text.lower().replace("’", "'")
    is_refusal = not lowered or any(phrase in lowered for phrase in REFUSALS)
    return text, is_refusal and not contains_answer(text, row["answers"])


SCORE_COLUMNS = (
    "right|wrong|refused|left out: refused|words, median|words, 95 %|seconds, median".split("|")
)


def score_row(replies: Sequence[Reply]) -> list[str]:
    answerable = [r for r in replies if not r.row["unanswerable"]]
    unanswerable = [r for r in replies if r.row["unanswerable"]]
    right_count, refused_count = (
        sum(r.right for r in answerable),
        sum(r.refused for r in answerable),
    )
    words = sorted(len(r.text.split()) for r in answerable if not r.refused) or [0]
    return [
        share(right_count, len(answerable)),
        share(len(answerable) - right_count - refused_count, len(answerable)),
        share(refused_count, len(answerable)),
        share(sum(r.refused for r in unanswerable), len(unanswerable)),
        str(median(words)),
        str(words[int(0.95 * (len(words) - 1))]),
        f"{median(r.seconds for r in replies):.2f}",
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("questions", type=int, nargs="?", default=100)
    parser.add_argument("--context", type=int, default=CONTEXT)
    parser.add_argument("--save", type=Path)
    arguments = parser.parse_args()
    main(arguments.data, arguments.questions, arguments.context, arguments.save)
