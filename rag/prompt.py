"""Question + evidence → the Prompt that fits; every text that a generator is given."""

from collections.abc import Callable, Sequence

from rag.datatypes import Excerpt, Message, Prompt
from rag.errors import QuestionError

CountTokens = Callable[[Sequence[Message]], int]
"""Messages → how many tokens the generator makes of them, template included."""

# A small model answers best from a plain instruction: offered a way to refuse, or examples, it
# refuses nearly everything. Refusing, citing and checking are the program's work.
INSTRUCTION = "Answer the question in one short sentence, using only the facts below."

REWRITE = (
    "Rewrite the last question so that it can be understood without the conversation before it."
    " Use only words of the conversation. Write the question and nothing else."
)


def compose(
    question: str, sources: Sequence[Excerpt], count_tokens: CountTokens, most_tokens: int
) -> Prompt:
    """The Prompt with as many of the `sources`, best first, as fit in `most_tokens`.

    Raises QuestionError when the question does not fit even without any.
    """
    for kept in range(len(sources), -1, -1):
        messages = (Message(role="user", content=_text(question, sources[:kept])),)
        tokens = count_tokens(messages)
        if tokens <= most_tokens:
            return Prompt(messages, tuple(sources[:kept]), tokens)
    raise QuestionError(
        f"The question is {len(question):,} characters long, more than the model can read.",
        remedy="Shorten it.",
    )


def rewriting(
    question: str, history: Sequence[Message], count_tokens: CountTokens, most_tokens: int
) -> tuple[Message, ...]:
    """What asks for the question as it would be put without the history before it.

    As many of the last turns stand in it as fit in `most_tokens`.
    """
    for begin in range(len(history)):
        said = "\n".join(f"{turn['role']}: {turn['content']}" for turn in history[begin:])
        text = f"{REWRITE}\n\nConversation:\n{said}\n\nLast question: {question}"
        messages = (Message(role="user", content=text),)
        if count_tokens(messages) <= most_tokens:
            return messages
    return (Message(role="user", content=f"{REWRITE}\n\nLast question: {question}"),)


def _text(question: str, sources: Sequence[Excerpt]) -> str:
    facts = "\n".join(f"- {' '.join(source.text.split())}" for source in sources)
    return f"{INSTRUCTION}\n\nFacts:\n{facts}\n\nQuestion: {question}"
