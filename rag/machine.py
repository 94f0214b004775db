"""What the models' arithmetic is on this machine's CPU, tested anew."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rag import arithmetic, backends
from rag.cpu import this_cpu
from rag.models import MINILM, SMOLLM2, adapter_file, encoder_folder, generator_file
from rag.settings import Settings
from rag.supervised import SupervisedGenerator


@dataclass(frozen=True, slots=True)
class Machine:
    """The CPU, and what was found to run on it.

    `encoder` is its arithmetic, the fastest of `encoder_seconds` (which are for the same text).
    `generator` is the variant of llama.cpp in use, of those `built` (none where llama.cpp was built for
    one kind of CPU only); it is empty where none runs. `ruled_out` gives the reason for each arithmetic
    and variant that this CPU does not run.
    """

    cpu: str
    encoder: str
    encoder_seconds: Mapping[str, float]
    generator: str
    built: Sequence[str]
    ruled_out: Mapping[str, str]
    problem: str

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def test(settings: Settings) -> Machine:
    """Forget earlier verdicts, and find out with the embedded models. Raises ModelError."""
    cache = settings.cache
    arithmetic.forget(cache)
    measured = arithmetic.measured(cache, encoder_folder(MINILM.name, cache))
    name = SMOLLM2.name
    generator = SupervisedGenerator(
        name, generator_file(name, cache), cache, settings.threads, adapter_file(name, cache)
    )
    generator.health.forget()
    generator.load()
    generator.close()
    return Machine(
        cpu=this_cpu().name,
        encoder=measured.fastest(settings.encoder_dtype).value,
        encoder_seconds={way.value: seconds for way, seconds in measured.seconds.items()},
        generator=generator.health.variant,
        built=sorted(backends.variants()),
        ruled_out={way.value: reason for way, reason in measured.ruled_out.items()}
        | generator.health.ruled_out,
        problem=generator.problem,
    )
