"""Formulas as plain text, for what is searched and for the description of a page: nothing is typeset there."""

import re
import unicodedata

LETTERS = (
    "alpha α beta β gamma γ delta δ epsilon ε varepsilon ε zeta ζ eta η theta θ vartheta θ iota ι "
    "kappa κ lambda λ mu μ nu ν xi ξ pi π rho ρ sigma σ tau τ upsilon υ phi φ varphi φ chi χ psi ψ "
    "omega ω Gamma Γ Delta Δ Theta Θ Lambda Λ Xi Ξ Pi Π Sigma Σ Phi Φ Psi Ψ Omega Ω ell ℓ top ᵀ "
    "infty ∞ nabla ∇ partial ∂ le ≤ leq ≤ ge ≥ geq ≥ ne ≠ neq ≠ approx ≈ sim ~ propto ∝ cdot · "
    "times × sum Σ prod Π int ∫ in ∈ notin ∉ pm ± mp ∓ langle ⟨ rangle ⟩ to → rightarrow → "
    "leftarrow ← Rightarrow ⇒ mapsto ↦ sqrt √ dots … ldots … cdots … circ ∘ star ⋆ ast * otimes ⊗ "
    "odot ⊙ oplus ⊕ cup ∪ cap ∩ subset ⊂ subseteq ⊆ forall ∀ exists ∃ ll ≪ gg ≫ mid | vert | "
    "lvert | rvert | Vert ‖ perp ⊥ equiv ≡ prime ′ quad ; qquad ;"
).split()
SIGNS = dict(zip(LETTERS[::2], LETTERS[1::2], strict=True))
RELATIONS = set("≤≥≠≈~∝·×∈∉→←⇒↦∪∩⊂⊆≪≫≡;")  # with a space on either side
ACCENTS = {"dot": "\u0307", "ddot": "\u0308", "hat": "\u0302", "tilde": "\u0303", "bar": "\u0304", "widehat": "\u0302"}
ACCENTS |= {"widetilde": "\u0303", "overline": "\u0304"}
POWERS = dict(zip("0123456789+-n", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ", strict=True))


def plain(tex):
    r"""A formula in TeX as text on one line.

    >>> plain(r"\dot\theta = -\nabla\mathcal L(\theta)"), plain(r"W_Q^\top W_Q - \tfrac12\|W_K\|^2"), plain(r"k^{-1/2}")
    ('θ̇ = -∇L(θ)', 'W_QᵀW_Q - 1/2‖W_K‖²', 'k^(-1/2)')
    """
    tex = re.sub(
        r"\\(label|tag)\*?\{[^}]*\}|\\(begin|end)\{[^}]*\}(\{[^}]*\})?|\\(left|right|big|Big|bigg|Bigg)[lr]?(?![a-z])",
        " ",
        tex,
    )
    tex = re.sub(r"\\[dt]?frac\s*([0-9a-z])\s*([0-9a-zA-Z])", r"\1/\2", tex)
    tex = re.sub(r"\\[dt]?frac\s*([0-9a-z])\s*\{", r"\\frac{\1}{", tex)
    for _ in range(3):  # a fraction in a fraction in a fraction
        tex = re.sub(r"\\[dt]?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}", _ratio, tex)
        tex = re.sub(r"\\(?:text|textbf|operatorname)\*?\s*\{([^{}]*)\}", r" \1 ", tex)
        tex = re.sub(r"\\(?:mathcal|mathbb|mathrm|mathbf|mathsf|mathit)\s*\{([^{}]*)\}", r"\1", tex)
    tex = re.sub(r"\\(?:mathcal|mathbb|mathrm|mathbf|displaystyle|limits|nolimits|operatorname)\*?\s*", " ", tex)
    for name, accent in ACCENTS.items():
        tex = re.sub(rf"\\{name}(?![a-z])\s*\{{?(\\[A-Za-z]+|[A-Za-z])\}}?", rf"\1{{}}{accent}", tex)
    tex = tex.replace(r"\|", "‖").replace(r"\\", "; ").replace("&", " ")
    tex = re.sub(r"\\[,;:!> ]", " ", tex).replace("~", " ")
    tex = re.sub(r"\\([A-Za-z]+)(?:\s+(?=[A-Za-z\\]))?", _sign, tex)
    tex = tex.replace("{}", "").replace("^ᵀ", "ᵀ").replace("^{ᵀ}", "ᵀ")
    tex = re.sub(r"\^([0-9n])|\^\{([0-9n+-]+)\}", _power, tex)
    tex = re.sub(r"([_^])\{([^{}]*[^{}\w][^{}]*)\}", r"\1(\2)", tex).replace("\\", "").replace("{", "").replace("}", "")
    return unicodedata.normalize("NFC", " ".join(tex.split()).replace(" ;", ";").replace(" ,", ",").replace(" )", ")"))


def _ratio(found):
    """A fraction on one line, sums in parentheses."""
    return "/".join(f"({part})" if re.search(r".[+-]", part) else part for part in found.groups())


def _sign(found):
    """The sign of a command, a relation with spaces around it; a command that is not known by its name."""
    sign = SIGNS.get(found[1], found[1] + " ")
    return f" {sign} " if sign in RELATIONS else sign


def _power(found):
    """Digits of a power, written high."""
    return "".join(POWERS[one] for one in found[1] or found[2])


def sentence(text, most):
    """The beginning of a text, at most so many characters, ended at a word and with dots where it goes on.

    >>> sentence("one two three", 9), sentence("one two", 9)
    ('one two …', 'one two')
    """
    text = " ".join(text.split())
    return text if len(text) <= most else text[: most - 1].rsplit(" ", 1)[0].rstrip(",;:(") + " …"
