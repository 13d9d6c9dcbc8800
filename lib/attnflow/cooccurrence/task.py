r"""Data of chapter 2: is a sequence with both target words, or with one of them, or with none?

Words are one-hot, so a sample is a list of word numbers. Words 0 and 1 are the targets ($e_1$, $e_2$ of the text), word 2
is common to all samples ($e_3$), all others are random words. Classes: $I_1$ both targets (label +1), $I_2$ the first
alone, $I_3$ the second alone, $I_4$ neither (label -1). Source: Yang, Kailkhura, Wang, Liang 2024, section 2.
"""

from dataclasses import dataclass, replace

import torch

from attnflow import door, runs

TARGETS = ((0, 1), (0,), (1,), ())  # which target words a class holds
LABELS = {"both": (1, -1, -1, -1), "first": (1, 1, -1, -1)}
EQUAL = (1 / 2, 1 / 6, 1 / 6, 1 / 6)
TOKENS = "int: S n L"


@dataclass(frozen=True)
class Task:
    """Shape and options of the data.

    samples: n; length: L; fractions: shares of the four classes, met exactly; words: size d of a vocabulary whose random words
    are drawn with repetition, None where every random word occurs once in the whole data set; common: one word is in every
    sample; label: ``both`` (co-occurrence) or ``first`` (presence of word 0). Raises WrongUse on wrong input.
    """

    samples: int = 60
    length: int = 5
    fractions: tuple = EQUAL
    words: int | None = None
    common: bool = True
    label: str = "both"

    def __post_init__(self):
        runs.integer("samples", self.samples)
        runs.integer("length", self.length, least=3)
        runs.choice("label", self.label, tuple(LABELS))
        shares = tuple(runs.number("fraction", share, above=0) for share in self.fractions)
        runs.check("fractions", shares, "four that sum to 1", len(shares) == 4 and abs(sum(shares) - 1) < 1e-9)
        whole = all(abs(share * self.samples - round(share * self.samples)) < 1e-6 for share in shares)
        allowed = f"{'divisible by 6, so that' if shares == EQUAL else 'such that'} all classes hold a whole number of samples"
        runs.check("samples", self.samples, allowed, whole)
        if self.words is not None:
            runs.integer("words", self.words, least=4)

    @property
    def counts(self) -> tuple:
        """How many samples each class has."""
        return tuple(round(share * self.samples) for share in self.fractions)

    @property
    def random_words(self) -> tuple:
        """How many random words a sample of each class has: L-3, L-2, L-2, L-1 with a common word."""
        return tuple(self.length - int(self.common) - len(held) for held in TARGETS)

    @property
    def slots(self) -> int:
        """How many places for random words the whole data set has."""
        return sum(count * free for count, free in zip(self.counts, self.random_words, strict=True))

    @property
    def size(self) -> int:
        """The size d of the vocabulary."""
        return self.words or 3 + self.slots

    @property
    def classes(self) -> torch.Tensor:
        """The class, 0 to 3, of every sample: (n,). Samples are sorted by class."""
        return torch.repeat_interleave(torch.tensor(self.counts, dtype=torch.long, device="cpu"))

    def labels(self, stack: int) -> torch.Tensor:
        """Labels of +1 and -1 for a ``stack`` of runs: (S, n), float64."""
        signs = torch.tensor(LABELS[self.label], dtype=runs.DTYPE, device="cpu")
        return signs[self.classes].repeat(stack, 1)


@door.takes(task=Task)
def draw(generators: list, task: Task) -> tuple[torch.Tensor, torch.Tensor]:
    """One data set of a ``task`` a run, from ``generators``, one a run.

    Returns tokens (S, n, L), word numbers in an order that is uniform, and labels (S, n).
    """
    tokens = torch.stack([_tokens(one, task) for one in runs.generators(generators)])
    return tokens, task.labels(len(tokens))


@door.takes(task=Task, samples=door.COUNT)
def fresh(generators: list, task: Task, samples: int = 600) -> tuple[torch.Tensor, torch.Tensor]:
    """Test data of the law of a ``task``, random words uniform in the whole vocabulary.

    generators: one a run; samples: how many. Returns tokens and labels as ``draw``.
    """
    return draw(generators, replace(task, samples=samples, words=task.size))


@door.takes(tokens=TOKENS, words=door.COUNT)
def checked(tokens: torch.Tensor, words: int) -> torch.Tensor:
    """Check that ``tokens`` (S, n, L) are numbers of d ``words``, int64 from 0 to d - 1, and return them."""
    inside = bool((tokens >= 0).all() and (tokens < words).all())
    given = f"numbers from {int(tokens.min())} to {int(tokens.max())}"
    runs.check("tokens", given, f"word numbers from 0 to {words - 1}", inside)
    return tokens


@door.takes(tokens=TOKENS, words=door.COUNT)
def counts(tokens: torch.Tensor, words: int) -> torch.Tensor:
    """How often each of the ``words`` occurs in each sample, the bag of words: tokens (S, n, L) -> (S, n, d), float64."""
    checked(tokens, words)
    return torch.nn.functional.one_hot(tokens, words).sum(dim=2).to(runs.DTYPE)


def _tokens(generator, task):
    """One data set: random words for every free place, put beside the words of the class, and shuffled: (n, L)."""
    options, blocks, known = {"generator": generator, "device": "cpu"}, [], task.size - 3
    words = torch.randperm(known, **options) if task.words is None else torch.randint(known, (task.slots,), **options)
    for count, held, free in zip(task.counts, TARGETS, task.random_words, strict=True):
        fixed = torch.tensor([*held, 2] if task.common else held, dtype=torch.long, device="cpu").expand(count, -1)
        blocks.append(torch.cat([fixed, 3 + words[: count * free].reshape(count, free)], dim=1))
        words = words[count * free :]
    places = torch.rand(task.samples, task.length, dtype=torch.float32, **options)
    return torch.cat(blocks).gather(1, places.argsort(dim=1))
