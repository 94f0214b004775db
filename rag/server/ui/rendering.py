"""Renders the page's HTML, and conversations as Markdown and JSON for export.

Templates escape everything that comes from a model, an article or a reader, so that markup in it shows as
text; in Markdown, the characters with a meaning are escaped.
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

from jinja2 import Environment, PackageLoader, select_autoescape

from rag.server.ui.conversations import Conversation, Conversations, Turn, Turns
from rag.server.uploads import Uploads
from rag.store.browse import ArticleSummary
from rag.text.sentences import sentences
from rag.types import Answer, Article, Citation, Excerpt, Hit, Mode
from rag.wording import Texts

MAX_SHOWN = 200_000
"""Number of characters shown of an article; of a longer one, the part around the quote is shown."""


# -- the chat


def messages(turns: Turns, t: Texts) -> list[dict[str, str]]:
    """Return the chat's messages, as `gr.Chatbot` takes them."""
    chat: list[dict[str, str]] = []
    for number, turn in enumerate(turns, start=1):
        # Gradio shows this very text when a reader edits the question. Quotation marks stay as they are:
        # outside of a tag they are harmless.
        chat.append({"role": "user", "content": _escape_question(turn.question)})
        if reply := _render_reply(number, turn, t):
            chat.append({"role": "assistant", "content": reply})
    return chat


def unescape(content: str) -> str:
    """Return the question of a user's message, as it was asked."""
    return content.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def _escape_question(question: str) -> str:
    return question.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _render_reply(number: int, turn: Turn, t: Texts) -> str:
    answer = turn.answer
    if answer is not None and turn.answered:
        return _render_answer(number, answer, t)
    note = _render("note", note=turn.note) if turn.note else ""
    return (_render_draft(answer, turn.done, t) if answer is not None else "") + note


def _render_draft(answer: Answer, done: bool, t: Texts) -> str:
    if done and not answer.draft:
        return ""
    if done:
        label = t("draft_unchecked")
    elif answer.draft:
        label = t("writing")
    elif answer.hits:
        passages = t("n_passages", n=len(answer.hits))
        label = t("thinking" if answer.thought else "reading", passages=passages)
    else:
        label = t("searching")
    return _render("draft", t=t, label=label, sentences=_draft_sentences(answer.draft))


def _draft_sentences(draft: str) -> list[tuple[str, bool]]:
    """Return the draft's sentences, each with whether it is complete."""
    texts = [draft[start:end] for start, end in sentences(draft)]
    last = len(texts) - 1
    return [(text, i < last or text.endswith((".", "!", "?"))) for i, text in enumerate(texts)]


def _render_answer(number: int, answer: Answer, t: Texts) -> str:
    supported = [sentence for sentence in answer.sentences if sentence.supported]
    rejected = [sentence for sentence in answer.sentences if not sentence.supported]
    written = sum(not sentence.quoted for sentence in supported)
    return _render(
        "answer",
        t=t,
        number=number,
        answer=answer,
        supported=supported,
        rejected=rejected,
        markers={citation.marker for citation in answer.citations},
        stats=_answer_stats(answer, written, len(rejected), t),
    )


def _answer_stats(answer: Answer, supported: int, rejected: int, t: Texts) -> str:
    """Return the line below an answer.

    Args:
        supported: number of the language model's sentences that are supported
        rejected: number of those that are not
    """
    seconds = t.number(answer.timings.total_s, decimals=1)
    if answer.mode is Mode.REFUSED:
        return t("nothing_written", seconds=seconds)
    if not answer.sentences:
        return t("built_in_reply", seconds=seconds)
    if not answer.evidence_used:  # the language model has written nothing
        return t("reading_stats", kind=t(f"kind_{answer.kind.value}"), seconds=seconds)
    return t(
        "answer_stats",
        supported=supported,
        written=supported + rejected,
        used=answer.evidence_used,
        retrieved=t("n_sentences", n=answer.evidence_used + answer.evidence_omitted),
        seconds=seconds,
        model=answer.model,
    )


# -- the sources


@dataclass(frozen=True, slots=True)
class _SourceCard:
    """A citation: its quote, and the text of the passage before and after it."""

    marker: int
    quote: Excerpt
    before: str
    after: str

    @classmethod
    def of(cls, citation: Citation, hits: Sequence[Hit]) -> "_SourceCard":
        quote = citation.quote
        hit = _find_hit(quote, hits)
        passage = quote if hit is None else hit.passage
        start, end = quote.start - passage.start, quote.end - passage.start
        return cls(citation.marker, quote, passage.text[:start], passage.text[end:])


@dataclass(frozen=True, slots=True)
class _AnswerSources:
    """The sources of one answer: its citations, and the hits that it does not cite."""

    number: int
    mode: Mode
    question: str
    cards: Sequence[_SourceCard]
    other_hits: Sequence[Hit]

    @classmethod
    def of(cls, number: int, answer: Answer) -> "_AnswerSources":
        cards = [_SourceCard.of(citation, answer.hits) for citation in answer.citations]
        cited = {_find_hit(citation.quote, answer.hits) for citation in answer.citations}
        other_hits = [hit for hit in answer.hits if hit not in cited]
        return cls(number, answer.mode, answer.question, cards, other_hits)


def sources(turns: Turns, t: Texts) -> str:
    """Return the sources of all answers; also their Markdown, which the page's script copies."""
    answered = [
        (number, turn, turn.answer)
        for number, turn in enumerate(turns, start=1)
        if turn.answer is not None and turn.answered
    ]
    answers = [_AnswerSources.of(number, answer) for number, _, answer in answered if answer.hits]
    copies = [
        (number, _render_markdown(turn, t)) for number, turn, answer in answered if answer.sentences
    ]
    return _render("sources", t=t, answers=answers, copies=copies)


def _find_hit(quote: Excerpt, hits: Iterable[Hit]) -> Hit | None:
    """Return the first hit whose passage contains the quote."""
    for hit in hits:
        passage = hit.passage
        same_article = passage.article == quote.article
        if same_article and passage.start <= quote.start and quote.end <= passage.end:
            return hit
    return None


# -- the articles


def article(article: Article | None, start: int, end: int, t: Texts) -> str:
    """Return a whole article with `text[start:end]` marked; a message when it is None."""
    if article is None:
        return _render("article", t=t, excerpt=None)
    text = article.text
    start, end = sorted(max(0, min(offset, len(text))) for offset in (start, end))
    first = max(0, min(start - MAX_SHOWN // 2, len(text) - MAX_SHOWN))
    last = first + max(MAX_SHOWN, end - first)
    excerpt = Excerpt(
        article_id=article.id,
        title=article.title,
        start=start,
        end=end,
        text="",
        date=article.date,
        source=article.source,
        url=article.url,
        pages=article.pages,
    )
    return _render(
        "article",
        t=t,
        excerpt=excerpt,
        before=text[first:start],
        quote=text[start:end],
        after=text[end:last],
        shortened=last - first < len(text),
    )


def articles(summaries: Sequence[ArticleSummary], count: int, t: Texts) -> str:
    """Return a table of the articles, of `count` that match."""
    return _render("articles", t=t, articles=summaries, count=count)


def uploads(own: Uploads, t: Texts, *, indexing: bool = False) -> str:
    """Return the list of a reader's own files, with the progress while they are being indexed."""
    percent = t.number(100 * own.share_done)
    return _render(
        "uploads",
        t=t,
        progress=t("uploads_reading", percent=percent) if indexing else "",
        problem=own.problem.text_in(t) if own.problem else "",
        names=own.names,
        count=own.index.article_count if own.index else 0,
        skipped=[(Path(skipped.path).name, skipped.reason.text_in(t)) for skipped in own.skipped],
    )


# -- the conversations


def conversations(reader_conversations: Conversations, t: Texts) -> str:
    """Return the list of conversations, with links to download the current one."""
    markdown, as_json = export(reader_conversations.current, t)
    return _render(
        "conversations",
        t=t,
        conversations=reader_conversations.all,
        current=reader_conversations.current,
        markdown=markdown,
        json=as_json,
    )


def export(conversation: Conversation, t: Texts) -> tuple[str, str]:
    """Return a conversation as Markdown with footnotes, and as JSON; both empty without an answer."""
    turns = [turn for turn in conversation.turns if turn.answered]
    if not turns:
        return "", ""
    parts = [_render_markdown(turn, t, f"{number}-") for number, turn in enumerate(turns, start=1)]
    answers = [turn.answer.as_json() for turn in turns if turn.answer]
    heading = f"# {t('export_heading')}\n\n"
    return heading + "\n".join(parts), json.dumps(answers, ensure_ascii=False, indent=1)


def _render_markdown(turn: Turn, t: Texts, prefix: str = "") -> str:
    """Return a turn as Markdown, its quotes as footnotes whose labels begin with `prefix`."""
    supported = [s for s in turn.answer.sentences if s.supported] if turn.answer else []
    return _render("footnotes", ".md.j2", t=t, turn=turn, supported=supported, prefix=prefix)


# -- the rest of the page


def heading(t: Texts) -> str:
    return _render("heading", t=t)


def status(problem: str, text: str, kind: str) -> str:
    """Return the status line: the problem if there is one, else the text with `kind` as its class."""
    return _render("status", problem=problem, text=text, kind=kind)


# -- the templates


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("rag.server.ui"),
        autoescape=select_autoescape(["html.j2"]),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"md": _escape_markdown, "is_web": _is_web}
    return environment


def _render(template: str, suffix: str = ".html.j2", **values: object) -> str:
    return _environment().get_template(template + suffix).render(values)


def _is_web(url: str | None) -> bool:
    try:
        return url is not None and urlsplit(url).scheme in {"http", "https"}
    except ValueError:
        return False


def _escape_markdown(text: str) -> str:
    """Return Markdown that shows as this very text, in one line."""
    return _MARKDOWN_CHARACTERS.sub(r"\\\g<0>", " ".join(text.split()))


_MARKDOWN_CHARACTERS = re.compile(r"[\\`*_{}\[\]<>#|~$!]")
