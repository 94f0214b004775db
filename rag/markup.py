"""A conversation and the sources of its answers → HTML.

What comes from a model, an article or a user is escaped here before any tag is put around it, so that
it shows as text whatever it holds.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from urllib.parse import urlsplit

from rag.datatypes import Answer, Citation, Excerpt, Hit, Mode, Sentence, Stage


@dataclass(frozen=True, slots=True)
class Turn:
    """A question and how far its answer has come. `note` stands in for an answer."""

    question: str
    answer: Answer | None = None
    note: str = ""
    over: bool = False

    @property
    def answered(self) -> bool:
        return self.answer is not None and self.answer.stage is Stage.DONE


Turns = tuple[Turn, ...]


def messages(turns: Turns) -> list[dict[str, str]]:
    """What the chat shows."""
    shown = []
    for number, turn in enumerate(turns, start=1):
        shown.append({"role": "user", "content": _paragraph("asked", turn.question)})
        if reply := _reply(number, turn):
            shown.append({"role": "assistant", "content": reply})
    return shown


def _reply(number: int, turn: Turn) -> str:
    if turn.answer is not None and turn.answered:
        return _answer(number, turn.answer)
    note = _paragraph("note", turn.note) if turn.note else ""
    return (_draft(turn.answer, turn.over) if turn.answer is not None else "") + note


def _draft(answer: Answer, over: bool) -> str:
    if not answer.draft:
        doing = "Thinking about" if answer.thought else "Reading"
        said = f"{doing} {counted(len(answer.hits), 'passage')}…"
        return "" if over else _paragraph("label", said)
    label = "Draft, not checked" if over else "Draft, being checked…"
    return _paragraph("label", label) + _paragraph("draft", answer.draft)


def _answer(number: int, answer: Answer) -> str:
    """A finished answer: its sentences with markers, what was struck out, and how it came about."""
    held = [sentence for sentence in answer.sentences if sentence.supported]
    struck = [sentence for sentence in answer.sentences if not sentence.supported]
    written = [sentence for sentence in held if not sentence.quoted]
    cited = {citation.marker: citation for citation in answer.citations}
    text = " ".join(_sentence(number, sentence, cited) for sentence in held) or escape(answer.text)
    parts = [f'<p class="text">{text}</p>']
    if answer.mode is Mode.QUOTED:
        label = "Quoted, because what the model wrote did not hold"
        parts = [_paragraph("label", label), f'<blockquote class="text">{text}</blockquote>']
    elif answer.mode is Mode.REFUSED:
        parts.insert(0, _paragraph("label", "Not answered"))
    if answer.standalone_question != answer.question:
        parts.insert(0, _paragraph("read-as", f"Read as: {answer.standalone_question}"))
    parts += [_struck(struck), _thought(answer.thought)]
    parts.append(_paragraph("figures", _figures(answer, len(written), len(struck))))
    return f'<div class="answer {answer.mode.value}">{"".join(parts)}</div>'


def _sentence(number: int, sentence: Sentence, cited: Mapping[int, Citation]) -> str:
    markers = (_marker(number, cited[marker]) for marker in sentence.citations if marker in cited)
    return f"{escape(sentence.text)} {''.join(markers)}"


def _marker(number: int, citation: Citation) -> str:
    """A link to the source; the page's script moves there, since a plain one would reload the page."""
    return (
        f'<a class="marker" href="#{_source_id(number, citation)}"'
        f' title="Source {citation.marker}: {escape(citation.quote.title)}">[{citation.marker}]</a>'
    )


def _struck(sentences: Sequence[Sentence]) -> str:
    if not sentences:
        return ""
    rows = "".join(
        f"<li><s>{escape(sentence.text)}</s> {escape(_why(sentence))}</li>"
        for sentence in sentences
    )
    summary = f"{counted(len(sentences), 'sentence')} struck out: not supported by the articles"
    return f'<details class="struck"><summary>{summary}</summary><ul>{rows}</ul></details>'


def _why(sentence: Sentence) -> str:
    return f"{sentence.verdict.value}: {sentence.reason}" if sentence.reason else ""


def _thought(thought: str) -> str:
    if not thought:
        return ""
    summary = "What the model thought before it answered, not checked"
    text = _paragraph("draft", thought)
    return f'<details class="struck"><summary>{summary}</summary>{text}</details>'


def _figures(answer: Answer, held: int, struck: int) -> str:
    seconds = f"{answer.timings.total_s:.1f} s"
    if answer.mode is Mode.REFUSED:
        return f"Nothing written · {seconds}"
    if not answer.sentences:
        return f"Said by Footnote itself · {seconds}"
    verb = "stands" if held == 1 else "stand"
    read = f"{answer.given} of {counted(answer.given + answer.dropped, 'sentence')} found were read"
    stand = f"{held} of {held + struck} written sentences {verb}"
    return f"{stand} · {read} · {seconds} · {answer.model}"


# -- sources → HTML


def sources(turns: Turns) -> str:
    """The sources of every answer, the newest shown: the script shows another when it is asked for."""
    sections = [
        _section(number, turn.answer)
        for number, turn in enumerate(turns, start=1)
        if turn.answer is not None and turn.answered and turn.answer.hits
    ]
    if not sections:
        return '<p class="none">The sources of an answer appear here.</p>'
    hidden = [section.replace("<section", "<section hidden", 1) for section in sections[:-1]]
    return "".join([*hidden, sections[-1]])


def _section(number: int, answer: Answer) -> str:
    refused = answer.mode is Mode.REFUSED
    cards = [_source(number, citation, answer.hits) for citation in answer.citations]
    used = {_holding(citation.quote, answer.hits) for citation in answer.citations}
    others = [hit for hit in answer.hits if hit not in used]
    found = "".join(_passage(hit.passage, is_open=refused and hit.rank == 1) for hit in others)
    if others and not refused:
        summary = f"{counted(len(others), 'other passage')} found"
        found = f'<details class="others"><summary>{summary}</summary>{found}</details>'
    return (
        f'<section id="sources-{number}"><h2>{"Nearest passages" if refused else "Sources"}</h2>'
        f"{_paragraph('for', answer.question)}{''.join(cards)}{found}</section>"
    )


def _source(number: int, citation: Citation, hits: Sequence[Hit]) -> str:
    """A citation with its quote marked in the passage that holds it."""
    quote = citation.quote
    hit = _holding(quote, hits)
    passage = quote if hit is None else hit.passage
    start, end = quote.start - passage.start, quote.end - passage.start
    before, within, after = (
        escape(part) for part in (passage.text[:start], passage.text[start:end], passage.text[end:])
    )
    return (
        f'<article class="source" id="{_source_id(number, citation)}" tabindex="-1">'
        f'<h3><span class="number">[{citation.marker}]</span> {escape(quote.title)}</h3>'
        f"{_about(quote)}"
        f'<p class="passage">{before}<mark>{within}</mark>{after}</p></article>'
    )


def _passage(passage: Excerpt, *, is_open: bool) -> str:
    """A passage that was found and not cited, folded under its title."""
    return (
        f"<details{' open' if is_open else ''}><summary>{escape(passage.title)}</summary>"
        f"{_about(passage)}{_paragraph('passage', passage.text)}</details>"
    )


def _about(excerpt: Excerpt) -> str:
    """Date, source, page, link and where else it stands, where they are known."""
    page = f"page {excerpt.page}" if excerpt.page else ""
    also = "also in " + ", ".join(twin.title for twin in excerpt.also) if excerpt.also else ""
    parts = [escape(part) for part in (excerpt.date, excerpt.source, page, also) if part]
    if excerpt.url and _is_web(excerpt.url):
        url = escape(excerpt.url)
        parts.append(
            f'<a href="{url}" target="_blank" rel="noopener noreferrer">Open the article</a>'
        )
    return f'<p class="about">{" · ".join(parts)}</p>' if parts else ""


def _is_web(url: str) -> bool:
    try:
        return urlsplit(url).scheme in {"http", "https"}
    except ValueError:
        return False


def _holding(quote: Excerpt, hits: Iterable[Hit]) -> Hit | None:
    """The first hit whose passage holds the quote."""
    for hit in hits:
        passage = hit.passage
        same = passage.article_id == quote.article_id
        if same and passage.start <= quote.start and quote.end <= passage.end:
            return hit
    return None


def _source_id(number: int, citation: Citation) -> str:
    return f"source-{number}-{citation.marker}"


def _paragraph(kind: str, text: str) -> str:
    return f'<p class="{kind}">{escape(text)}</p>'


def counted(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"
