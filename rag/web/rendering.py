"""What the page shows → HTML and Markdown.

Jinja escapes whatever comes from a model, an article or a reader, so that it shows as text whatever it
holds; in Markdown its marks are escaped.
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

from jinja2 import Environment, PackageLoader, select_autoescape

from rag.datatypes import Answer, Article, Citation, Excerpt, Hit, Mode
from rag.index import ArticleLine
from rag.language import sentences
from rag.web.conversations import Conversation, Conversations, Turn, Turns
from rag.web.texts import Texts
from rag.web.uploads import Uploads

MOST_SHOWN = 200_000
"""Characters of an article; of a longer one, so many around the quote."""


# -- the chat


def messages(turns: Turns, t: Texts) -> list[dict[str, str]]:
    """What the chat shows."""
    shown: list[dict[str, str]] = []
    for number, turn in enumerate(turns, start=1):
        # Gradio lets a reader edit this as it stands: quotation marks do no harm outside of a tag.
        shown.append({"role": "user", "content": _escaped(turn.question)})
        if reply := _reply(number, turn, t):
            shown.append({"role": "assistant", "content": reply})
    return shown


def unescaped(shown: str) -> str:
    """A question as it was asked, of what the chat shows."""
    return shown.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def _escaped(question: str) -> str:
    return question.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _reply(number: int, turn: Turn, t: Texts) -> str:
    answer = turn.answer
    if answer is not None and turn.answered:
        return _answer(number, answer, t)
    note = _filled("note", note=turn.note) if turn.note else ""
    return (_draft(answer, turn.over, t) if answer is not None else "") + note


def _draft(answer: Answer, over: bool, t: Texts) -> str:
    if over and not answer.draft:
        return ""
    if over:
        doing = t("draft_left")
    elif answer.draft:
        doing = t("writing")
    elif answer.hits:
        passages = t.counted("n_passages", len(answer.hits))
        doing = t("thinking" if answer.thought else "reading", passages=passages)
    else:
        doing = t("searching")
    return _filled("draft", t=t, doing=doing, draft=_with_ends(answer.draft))


def _with_ends(draft: str) -> list[tuple[str, bool]]:
    """The draft's sentences, and of each whether it has come to its end."""
    told = [draft[start:end] for start, end in sentences(draft)]
    last = len(told) - 1
    return [(text, i < last or text.endswith((".", "!", "?"))) for i, text in enumerate(told)]


def _answer(number: int, answer: Answer, t: Texts) -> str:
    standing = [sentence for sentence in answer.sentences if sentence.supported]
    struck = [sentence for sentence in answer.sentences if not sentence.supported]
    written = sum(not sentence.quoted for sentence in standing)
    return _filled(
        "answer",
        t=t,
        number=number,
        answer=answer,
        standing=standing,
        struck=struck,
        cited_by={citation.marker for citation in answer.citations},
        figures=_figures(answer, written, len(struck), t),
    )


def _figures(answer: Answer, written: int, struck: int, t: Texts) -> str:
    seconds = f"{answer.timings.total_s:.1f}"
    if answer.mode is Mode.REFUSED:
        return t("nothing_written", seconds=seconds)
    if not answer.sentences:
        return t("said_itself", seconds=seconds)
    found = t.counted("n_sentences", answer.given + answer.dropped)
    return t.counted(
        "figures",
        written,
        all=written + struck,
        given=answer.given,
        found=found,
        seconds=seconds,
        model=answer.model,
    )


# -- the sources


@dataclass(frozen=True, slots=True)
class _Card:
    """A citation in the passage that holds its quote."""

    marker: int
    quote: Excerpt
    before: str
    after: str

    @classmethod
    def of(cls, citation: Citation, hits: Sequence[Hit]) -> "_Card":
        quote = citation.quote
        hit = _holding(quote, hits)
        passage = quote if hit is None else hit.passage
        start, end = quote.start - passage.start, quote.end - passage.start
        return cls(citation.marker, quote, passage.text[:start], passage.text[end:])


@dataclass(frozen=True, slots=True)
class _Sources:
    """Of one answer: the cards of its citations, and what else was found."""

    number: int
    mode: Mode
    question: str
    cards: Sequence[_Card]
    others: Sequence[Hit]

    @classmethod
    def of(cls, number: int, answer: Answer) -> "_Sources":
        cards = [_Card.of(citation, answer.hits) for citation in answer.citations]
        used = {_holding(citation.quote, answer.hits) for citation in answer.citations}
        others = [hit for hit in answer.hits if hit not in used]
        return cls(number, answer.mode, answer.question, cards, others)


def sources(turns: Turns, t: Texts) -> str:
    answered = [
        (number, turn, turn.answer)
        for number, turn in enumerate(turns, start=1)
        if turn.answer is not None and turn.answered
    ]
    found = [_Sources.of(number, answer) for number, _, answer in answered if answer.hits]
    copies = [(number, _footnotes(turn)) for number, turn, answer in answered if answer.sentences]
    return _filled("sources", t=t, answers=found, copies=copies)


def _holding(quote: Excerpt, hits: Iterable[Hit]) -> Hit | None:
    """The first hit whose passage holds the quote."""
    for hit in hits:
        passage = hit.passage
        same = passage.article_id == quote.article_id
        if same and passage.start <= quote.start and quote.end <= passage.end:
            return hit
    return None


# -- the articles


def article(found: Article | None, start: int, end: int, t: Texts) -> str:
    """A whole article with `found.text[start:end]` marked in it."""
    if found is None:
        return _filled("article", t=t, part=None)
    start, end = sorted(max(0, min(place, len(found.text))) for place in (start, end))
    first = max(0, min(start - MOST_SHOWN // 2, len(found.text) - MOST_SHOWN))
    last = first + max(MOST_SHOWN, end - first)
    text = found.text
    return _filled(
        "article",
        t=t,
        part=Excerpt(
            found.id, found.title, start, end, "", found.date, found.source, found.url, found.pages
        ),
        before=text[first:start],
        quote=text[start:end],
        after=text[end:last],
        shortened=last - first < len(text),
    )


def articles(lines: Sequence[ArticleLine], count: int, t: Texts) -> str:
    return _filled("articles", t=t, lines=lines, count=count)


def uploads(held: Uploads, t: Texts, *, doing: bool = False) -> str:
    """What a reader has added, what could not be taken, and how far it has come."""
    return _filled(
        "uploads",
        t=t,
        doing=t("uploads_reading", percent=f"{held.share_done:.0%}") if doing else "",
        problem=held.problem,
        names=held.names,
        count=held.index.article_count if held.index else 0,
        skipped=[(Path(skipped.path).name, skipped.reason) for skipped in held.skipped],
    )


# -- the conversations


def conversations(held: Conversations, t: Texts) -> str:
    """All of them, and the one that is shown as files to save."""
    markdown, as_json = exported(held.shown, t)
    return _filled(
        "conversations",
        t=t,
        conversations=held.all,
        shown=held.shown,
        markdown=markdown,
        json=as_json,
    )


def exported(talk: Conversation, t: Texts) -> tuple[str, str]:
    """A conversation as Markdown with footnotes and as JSON; empty when nothing was answered."""
    answered = [turn for turn in talk.turns if turn.answered]
    if not answered:
        return "", ""
    parts = [_footnotes(turn, f"{number}-") for number, turn in enumerate(answered, start=1)]
    told = [turn.answer.as_json() for turn in answered if turn.answer]
    head = f"# {t('exported_from')}\n\n"
    return head + "\n".join(parts), json.dumps(told, ensure_ascii=False, indent=1)


def _footnotes(turn: Turn, prefix: str = "") -> str:
    """A turn as Markdown; its quotes are footnotes."""
    answer = turn.answer
    standing = [s for s in answer.sentences if s.supported] if answer else []
    return _filled("footnotes", ".md.j2", turn=turn, standing=standing, prefix=prefix)


# -- the templates


def heading(t: Texts) -> str:
    return _filled("heading", t=t)


def status(problem: str, said: str, kind: str) -> str:
    return _filled("status", problem=problem, said=said, kind=kind)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("rag.web"),
        autoescape=select_autoescape(["html.j2"]),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"md": _as_text}
    environment.filters |= {"is_web": _is_web}
    return environment


def _filled(template: str, ending: str = ".html.j2", **values: object) -> str:
    return _environment().get_template(template + ending).render(values)


def _is_web(url: str | None) -> bool:
    try:
        return url is not None and urlsplit(url).scheme in {"http", "https"}
    except ValueError:
        return False


def _as_text(text: str) -> str:
    """As Markdown that shows as this very text, in one line."""
    return _MARKDOWN.sub(r"\\\g<0>", " ".join(text.split()))


_MARKDOWN = re.compile(r"[\\`*_{}\[\]<>#|~$!]")
