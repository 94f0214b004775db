"""Hardware test: which encoder arithmetic and which llama.cpp build run on this machine's CPU."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rag.models.cpu import this_cpu
from rag.models.embedding import arithmetic
from rag.models.generation import backends
from rag.models.generation.supervised import SupervisedGenerator
from rag.models.resolve import MINILM, SMOLLM2, encoder_folder, generator_file
from rag.settings import Settings


@dataclass(frozen=True, slots=True)
class Machine:
    """The CPU, and which arithmetic and which builds of llama.cpp run on it.

    Attributes:
        cpu: The CPU's name.
        encoder: The encoder's arithmetic, which is the fastest of `encoder_seconds` that is allowed.
        encoder_seconds: Seconds that each arithmetic takes for the same text.
        generator: The llama.cpp variant in use; empty if none runs.
        built: The llama.cpp variants that are installed; empty if llama.cpp was built for one CPU only.
        ruled_out: The reason for each arithmetic and variant that does not run on this CPU.
        problem: Why the language model is off; empty while it works.
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
    """Test this CPU with the embedded models; earlier results are discarded. Raises ModelError."""
    cache = settings.cache
    arithmetic.clear_cache(cache)
    timings = arithmetic.get_timings(cache, encoder_folder(MINILM.name, cache))
    name = SMOLLM2.name
    generator = SupervisedGenerator(name, generator_file(name, cache), cache, settings.threads)
    generator.health.clear()
    generator.load()
    generator.close()
    ruled_out = {kind.value: reason for kind, reason in timings.ruled_out.items()}
    return Machine(
        cpu=this_cpu().name,
        encoder=timings.fastest(settings.encoder_dtype).value,
        encoder_seconds={kind.value: seconds for kind, seconds in timings.seconds.items()},
        generator=generator.health.variant,
        built=sorted(backends.variants()),
        ruled_out=ruled_out | generator.health.ruled_out,
        problem=generator.problem,
    )
