r"""Data of chapter 2: is a sequence with both target words, or with one of them, or with none?

Words are one-hot, so a sample is a list of word numbers. Words 0 and 1 are the targets ($e_1$, $e_2$ of the text), word 2
is common to all samples ($e_3$), all others are random words. Classes: $I_1$ both targets (label +1), $I_2$ the first
alone, $I_3$ the second alone, $I_4$ neither (label -1). Source: Yang, Kailkhura, Wang, Liang 2024, section 2.
"""

from dataclasses import dataclass

import torch

from attnflow import runs

TARGETS = ((0, 1), (0,), (1,), ())  # which target words a class holds
LABELS = {"both": (1, -1, -1, -1), "first": (1, 1, -1, -1)}


@dataclass(frozen=True)
class Task:
    """Shape and options of the data.

    samples: n; length: L; fractions: shares of the four classes, met exactly; words: size d of the vocabulary, None for
    the least that ``distinct`` needs; distinct: every random word occurs once in the whole data set, else they are drawn
    with repetition; common: one word is in every sample; label: ``both`` (co-occurrence) or ``first`` (presence of word 0).
    Raises ValueError on wrong input.
    """

    samples: int = 60
    length: int = 5
    fractions: tuple = (1 / 2, 1 / 6, 1 / 6, 1 / 6)
    words: int | None = None
    distinct: bool = True
    common: bool = True
    label: str = "both"

    def __post_init__(self):
        runs.integer("samples", self.samples)
        runs.integer("length", self.length, least=3)
        runs.choice("label", self.label, tuple(LABELS))
        shares = tuple(runs.number("fraction", share, above=0) for share in self.fractions)
        runs.check("fractions", shares, "four that sum to 1", len(shares) == 4 and abs(sum(shares) - 1) < 1e-9)
        whole = all(abs(share * self.samples - round(share * self.samples)) < 1e-6 for share in shares)
        divisor = "divisible by 6, so that all" if shares == (1 / 2, 1 / 6, 1 / 6, 1 / 6) else "such that all"
        runs.check("samples", self.samples, f"{divisor} classes hold a whole number of samples", whole)
        least = 3 + (self.slots if self.distinct else 1)
        if self.words is not None:
            reason = " (distinct random words)" if self.distinct else ""
            runs.check(
                "words",
                self.words,
                f"an integer of at least {least}{reason}",
                isinstance(self.words, int) and self.words >= least,
            )
        runs.check("words", self.words, "given where words repeat", self.distinct or self.words is not None)

    @property
    def counts(self):
        """How many samples each class has."""
        return tuple(round(share * self.samples) for share in self.fractions)

    @property
    def random_words(self):
        """How many random words a sample of each class has: L-3, L-2, L-2, L-1 with a common word."""
        return tuple(self.length - int(self.common) - len(held) for held in TARGETS)

    @property
    def slots(self):
        """How many places for random words the whole data set has."""
        return sum(count * free for count, free in zip(self.counts, self.random_words, strict=True))

    @property
    def size(self):
        """The size d of the vocabulary."""
        return self.words or 3 + self.slots

    @property
    def classes(self):
        """The class, 0 to 3, of every sample: (n,). Samples are sorted by class."""
        return torch.repeat_interleave(torch.arange(4), torch.tensor(self.counts))

    def labels(self, stack):
        """Labels of +1 and -1: (S, n), float64."""
        signs = torch.tensor(LABELS[self.label], dtype=runs.DTYPE)
        return signs[self.classes].expand(stack, -1).contiguous()


def draw(generators, task):
    """One data set a run. Returns tokens (S, n, L), word numbers in an order that is uniform, and labels (S, n)."""
    return _assemble(generators, task, [_random_words(g, task) for g in generators])


def fresh(generators, task, samples=600):
    """Test data of the same law, random words uniform in the whole vocabulary. Returns tokens and labels as ``draw``."""
    asked = Task(samples, task.length, task.fractions, task.size, False, task.common, task.label)
    return _assemble(generators, asked, [_random_words(g, asked) for g in generators])


def counts(tokens, words):
    """How often each word occurs in each sample, the bag of words: (S, n, L) -> (S, n, d), float64."""
    stack, samples, _ = runs.tensor("tokens", tokens, (None, None, None)).shape
    empty = torch.zeros(stack, samples, words, dtype=runs.DTYPE, device=tokens.device)
    return empty.scatter_add_(2, tokens, torch.ones_like(tokens, dtype=runs.DTYPE))


def _random_words(generator, task):
    """Random words for every free place of one data set, in sample order: (slots,)."""
    if task.distinct:
        return 3 + torch.randperm(task.size - 3, generator=generator)[: task.slots]
    return torch.randint(3, task.size, (task.slots,), generator=generator)


def _assemble(generators, task, drawn):
    """Put the class words and the random words into samples, and shuffle the places of every sample."""
    fixed = [[*held, 2] if task.common else list(held) for held in TARGETS]
    sets = []
    for generator, words in zip(generators, drawn, strict=True):
        blocks, used = [], 0
        for count, held, free in zip(task.counts, fixed, task.random_words, strict=True):
            block = words[used : used + count * free].reshape(count, free)
            blocks.append(torch.cat([torch.tensor(held, dtype=torch.long).expand(count, -1), block], dim=1))
            used += count * free
        places = torch.rand(task.samples, task.length, generator=generator).argsort(dim=1)
        sets.append(torch.cat(blocks).gather(1, places))
    return torch.stack(sets), task.labels(len(sets))
