"""All five assignments in their boxes: own solutions, blank copies, wrong answers, and a library that holds no answer."""

import functools
import importlib
import inspect
import pkgutil
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import numpy as np
import pytest
from course_submissions import bare

from course import box, grade, release, scores, source
from course.parts import TOLERANCE

pytestmark = [
    pytest.mark.course,
    pytest.mark.skipif(bool(box.missing()), reason=box.missing() or "a box"),
    pytest.mark.skipif(not (release.GRADING / "bin" / "nbgrader").exists(), reason="nbgrader is not installed"),
]
SALTS = ("public", "tests")
CASES = Path(__file__).parent / "course_cases"


def cases(chapter):
    """The rows of wrong and different answers of a ``chapter``."""
    return tomllib.loads((CASES / f"{chapter}.toml").read_text(encoding="utf-8"))["case"]


def packed(chapter):
    """Cases in as few submissions as there can be: one of every part in each; alone are those that other parts build on."""
    bins = []
    for case in sorted(cases(chapter), key=lambda case: case.get("alone", False)):
        free = [each for each in bins if case["part"] not in {other["part"] for other in each}]
        free = [] if case.get("alone") else free
        free[0].append(case) if free else bins.append([case])
    return bins


def with_cases(chapter, some):
    """The own solution with the lines of some cases changed."""
    text = (source.SOURCES / f"{chapter}.py").read_text(encoding="utf-8")
    for case in some:
        assert text.count(case["old"]) == 1, (
            f"{chapter}: {case['name']}: {case['old']!r} stands {text.count(case['old'])} times"
        )
        text = text.replace(case["old"], case["new"])
    return nbformat.writes(source.notebook(chapter, "public", text)).encode()


@pytest.fixture(scope="session")
def copies(tmp_path_factory):
    """The copies of the students for every salt: (chapter, salt) -> folder."""
    found = {}
    for salt in SALTS:
        folders = release.release(salt, tmp_path_factory.mktemp(f"copies-{salt}"))
        found |= {(folder.name, salt): folder for folder in folders}
    return found


@pytest.fixture(scope="session")
def seen(copies):
    """Every submission graded, two at a time: key -> (scores, reply)."""
    work = {}
    for chapter in source.CHAPTERS:
        for salt in SALTS:
            own = nbformat.writes(source.notebook(chapter, salt)).encode()
            work["own", chapter, salt] = (chapter, salt, own, {"tests": True})
            blank = (copies[chapter, salt] / f"{chapter}.ipynb").read_bytes()
            work["blank", chapter, salt] = (chapter, salt, blank, {})
        for number, some in enumerate(packed(chapter)):
            work["case", chapter, number] = (chapter, "public", with_cases(chapter, some), {})

    def one(item):
        place, (key, (chapter, salt, notebook, more)) = item
        return key, scores.graded(chapter, salt, notebook, ("0",), box.limits(), 10 + place % 2, **more)

    with ThreadPoolExecutor(2) as pool:
        return dict(pool.map(one, enumerate(work.items())))


def points(found):
    """Letter -> (points, full) of the parts that no person reads."""
    return {score.part: (score.points, score.full) for score in found if score.points is not None}


@pytest.mark.parametrize("salt", SALTS)
@pytest.mark.parametrize("chapter", source.CHAPTERS)
def test_the_own_solution_gets_all_points_and_passes_its_visible_tests(seen, chapter, salt):
    found, reply = seen["own", chapter, salt]
    assert not reply.reason and not reply.faults, reply.faults
    assert all(got == full for got, full in points(found).values()), found


@pytest.mark.parametrize("salt", SALTS)
@pytest.mark.parametrize("chapter", source.CHAPTERS)
def test_a_blank_copy_gets_none(seen, chapter, salt):
    found, _ = seen["blank", chapter, salt]
    assert all(got == 0 for got, _ in points(found).values()), found


@pytest.mark.parametrize(
    "chapter, number, case",
    [
        pytest.param(chapter, number, case, id=f"{chapter}-{case['name']}")
        for chapter in source.CHAPTERS
        for number, some in enumerate(packed(chapter) if (CASES / f"{chapter}.toml").exists() else [])
        for case in some
    ],
)
def test_other_answers_get_what_they_should(seen, chapter, number, case):
    found, _ = seen["case", chapter, number]
    (score,) = [score for score in found if score.part == case["part"]]
    assert score.points == pytest.approx(case["points"]), score
    assert case["hint"] in " ".join(score.hints), score


@pytest.mark.parametrize("chapter", source.CHAPTERS)
def test_every_chapter_is_tried_with_wrong_answers(chapter):
    assert len(cases(chapter)) >= 8
    assert {case["part"] for case in cases(chapter)} == {
        part.id for part in source.assignment(chapter).parts if not part.written
    }


@pytest.mark.parametrize("salt", SALTS)
@pytest.mark.parametrize("chapter", source.CHAPTERS)
def test_a_copy_holds_no_solution_and_the_zip_the_library(copies, chapter, salt, tmp_path):
    import zipfile

    folder = copies[chapter, salt]
    text = (folder / f"{chapter}.ipynb").read_text(encoding="utf-8")
    own = source.notebook(chapter, salt)
    for cell in own.cells:
        if cell.metadata.nbgrader.solution and cell.cell_type == "code":
            inner = cell.source.partition("### BEGIN SOLUTION\n")[2].partition("### END SOLUTION")[0]
            for line in inner.splitlines():
                if len(line.strip()) > 25:
                    assert line.strip().replace("\\", "\\\\").replace('"', '\\"') not in text, line
    with zipfile.ZipFile(folder / f"{chapter}.zip") as packed_:
        names = packed_.namelist()
        assert [name for name in names if name.endswith(".whl")] and f"{chapter}/{chapter}.ipynb" in names
        wheel = next(name for name in names if name.endswith(".whl"))
        packed_.extract(wheel, tmp_path)
        with zipfile.ZipFile(tmp_path / wheel) as library:
            assert not [name for name in library.namelist() if "course" in name or "assignments" in name]


@pytest.mark.parametrize("chapter", source.CHAPTERS)
def test_the_blank_copies_of_the_tests_are_those_of_nbgrader(copies, chapter):
    made = nbformat.read(copies[chapter, SALTS[0]] / f"{chapter}.ipynb", as_version=4)
    ours = bare(source.notebook(chapter, SALTS[0]))
    assert [cell.source for cell in ours.cells if cell.cell_type == "code"] == [
        cell.source for cell in made.cells if cell.cell_type == "code"
    ]


def numbers(value):
    """All numbers of plain data, one behind the other."""
    if isinstance(value, dict):
        return np.concatenate([numbers(each) for each in value.values()] or [np.zeros(0)])
    try:
        return np.asarray(value, dtype=float).ravel()
    except (TypeError, ValueError):
        return np.zeros(0)


@functools.cache
def functions(chapter):
    """All public functions of the modules of a room."""
    package = importlib.import_module(f"attnflow.{chapter}")
    modules = [
        importlib.import_module(each.name) for each in pkgutil.iter_modules(package.__path__, f"{package.__name__}.")
    ]
    return [
        function
        for module in modules
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if not name.startswith("_") and function.__module__ == module.__name__
    ]


@pytest.mark.parametrize("chapter", source.CHAPTERS)
@pytest.mark.filterwarnings("ignore")
def test_the_library_holds_no_answer(seen, chapter):
    """Every public function of the room, called with the inputs of a question, as they come and by name."""
    of = source.assignment(chapter)
    asked = [ask for asks in scores.questions(of, "public", "0").values() for ask in asks]
    for ask, answer in zip(asked, seen["own", chapter, "public"][1].answers, strict=True):
        wanted = numbers(answer.value)
        if wanted.size == 0 or ask.kind == "expression":
            continue
        for function in functions(chapter):
            for given in ((ask.inputs.values(), {}), ((), ask.inputs)):
                try:
                    found = numbers(function(*given[0], **given[1]))
                except BaseException:  # noqa: BLE001  whatever a function raises at foreign inputs
                    continue
                same = found.size == wanted.size and np.allclose(found, wanted, rtol=TOLERANCE["float64"])
                assert not same, f"{function.__module__}.{function.__name__} answers {ask.name}"


def test_the_limit_on_processes_binds():
    assert grade.binds(box.limits()) == ""
