"""Which Keras a program gets, by what it and the modules beside it import."""

from __future__ import annotations

import pytest

from launcher.plan.keras_choice import KerasChoice, Program, choose
from launcher.plan.model import Plan
from launcher.plan.plan import Surroundings, build_plan
from launcher.spec import parse_spec
from launcher.views.plan_text import as_text

KERAS_FIT = "import tensorflow as tf\nmodel = tf.keras.Sequential()\nmodel.fit(1)\n"
TRAIN = "import tensorflow as tf\nimport model\nmodel.make()\n"
LIBRARY = "from deepctr.estimator import DeepFMEstimator\n"


def chosen(files: dict[str, str], *program: str, has_ps: bool = True) -> KerasChoice:
    """``files``: seen from the working folder."""
    words = program or ("train.py",)
    runs_python = words[0] in ("-m", "app") or words[0].endswith(".py")
    command = Program(program=words if runs_python else (), argv=words, cwd="/w", installed=("/site",))
    read = {name if name.startswith("/") else f"/w/{name}": text for name, text in files.items()}.get
    return choose(command, read, has_ps=has_ps)


TF = "import tensorflow as tf\n"
LEGACY = [
    (f"{TF}\ne = tf.estimator.Estimator(f)", "3 uses tensorflow.estimator.Estimator"),
    ("import tensorflow.compat.v1 as tf\ntf.estimator.RunConfig()", "2 uses tensorflow.compat.v1.estimator.RunConfig"),
    ("from tensorflow import estimator", "1 uses tensorflow.estimator"),
    ("from tensorflow.python.estimator.canned import head", "1 uses tensorflow.python.estimator.canned"),
    ("import tensorflow_estimator as tfe", "1 uses tensorflow_estimator"),
    ("def main():\n  from launcher.estimator import streaming", "2 uses launcher.estimator.streaming"),
    (f"{TF}tf.keras.estimator.model_to_estimator(m)", "2 uses tensorflow.keras.estimator.model_to_estimator"),
    (LIBRARY, "1 uses deepctr.estimator.DeepFMEstimator"),
    (f"{TF}tf.compat.v1.keras.layers.Dense(1)", "2 uses tensorflow.compat.v1.keras.layers.Dense"),
    (f"{TF}tf.keras.optimizers.legacy.Adam()", "2 uses tensorflow.keras.optimizers.legacy.Adam"),
    (
        f"{KERAS_FIT}tf.distribute.ParameterServerStrategy(r)",
        "2 uses tensorflow.keras.Sequential and train.py:4 uses tensorflow.distribute.ParameterServerStrategy",
    ),
    (
        f"{KERAS_FIT}tf.distribute.MultiWorkerMirroredStrategy()",
        "2 uses tensorflow.keras.Sequential and train.py:4 uses tensorflow.distribute.MultiWorkerMirroredStrategy, "
        "and calls fit",
    ),
]


@pytest.mark.parametrize(("text", "reason"), LEGACY)
def test_what_needs_keras_2(text: str, reason: str) -> None:
    choice = chosen({"train.py": text})
    assert choice.legacy
    assert f"train.py:{reason}" in choice.reason


@pytest.mark.parametrize(
    "text",
    [
        KERAS_FIT,
        "import keras\n# tf.estimator is not used",
        "import tensorflow as tf\nmodel.estimator.x",
        "import tensorflow as tf\nwith tf.distribute.MultiWorkerMirroredStrategy().scope():\n  tf.keras.Input(())",
        "import sklearn.estimator",
        "print 'this is Python 2'",
    ],
)
def test_what_does_not(text: str) -> None:
    assert chosen({"train.py": text}) == KerasChoice(legacy=False, reason="nothing in train.py needs Keras 2")


T = {"train.py": LIBRARY}
PLACES: list[tuple[dict[str, str], tuple[str, ...], str]] = [
    ({"train.py": TRAIN, "model.py": LIBRARY}, (), "model.py:1"),
    ({"a/train.py": TRAIN, "a/model/__init__.py": LIBRARY}, ("a/train.py", "--x"), "a/model/__init__.py:1"),
    ({"p/train.py": "from . import model", "p/model.py": LIBRARY}, ("-m", "p.train"), "p/model.py"),
    ({"p/__main__.py": "from p.sub.model import f", "p/sub/model.py": LIBRARY}, ("-m", "p"), "p/sub/model.py"),
    ({"/site/p/__main__.py": "import p.m, q", "/site/p/m.py": LIBRARY}, ("-m", "p"), "/site/p/m.py:1"),
    ({"app/__main__.py": LIBRARY}, ("app",), "app/__main__.py:1"),
    ({"start.sh": "exec python -u train.py --x", **T}, ("bash", "start.sh"), "train.py:1"),
    ({"bin/start.sh": "python $HERE/t.py", "bin/t.py": LIBRARY}, ("bin/start.sh",), "bin/t.py:1"),
    (T, ("sh", "-c", "python train.py"), "train.py:1"),
    ({"p/t.py": LIBRARY}, ("bash", "-c", "cd . && python3 -m p.t"), "p/t.py:1"),
    ({"run.py": "os.execv(python, ['python', 'train.py'])", **T}, ("run.py",), "train.py:1"),
    ({"run.py": "subprocess.run([python, '-m', 'p.t'])", "p/t.py": LIBRARY}, ("run.py",), "p/t.py:1"),
    ({"b/run.py": "f'{here}/t.py'", "b/t.py": LIBRARY}, ("b/run.py",), "b/t.py:1"),
]


@pytest.mark.parametrize(("files", "program", "place"), PLACES)
def test_where_it_is_looked_for(files: dict[str, str], program: tuple[str, ...], place: str) -> None:
    choice = chosen(files, *program)
    assert choice.legacy
    assert choice.reason.startswith(place)


def test_installed_packages_are_not_followed() -> None:
    files = {"/site/p/__main__.py": "import q", "/site/q.py": LIBRARY}
    assert not chosen(files, "-m", "p").legacy


def test_modules_that_import_each_other() -> None:
    files = {"train.py": "import a", "a.py": "import b", "b.py": "import a, train"}
    assert chosen(files).reason == "nothing in train.py and 2 modules beside it needs Keras 2"


@pytest.mark.parametrize("has_ps", [True, False])
def test_a_program_that_cannot_be_read(has_ps: bool) -> None:
    assert chosen({}, "/elsewhere/train.py", has_ps=has_ps).legacy == has_ps


@pytest.mark.parametrize("sets", ["['TF_USE_LEGACY_KERAS'] = '0'", ".setdefault('TF_USE_LEGACY_KERAS', '0')"])
def test_a_program_that_chooses_itself(sets: str) -> None:
    choice = chosen({"train.py": f"import os\nos.environ{sets}\n{LIBRARY}"})
    assert choice == KerasChoice(legacy=False, reason="train.py:2 sets TF_USE_LEGACY_KERAS=0", is_ours=False)


# --- in a plan -----------------------------------------------------------------------------------------------------


def plan_of(text: str, more: str = "", env: dict[str, str] | None = None) -> Plan:
    around = Surroundings(python="/py", cwd="/w", env=env or {}, read={"/w/train.py": text}.get)
    return build_plan(parse_spec(f"command: [train.py]\nroles: {{ps: {{}}, chief: {{}}}}\n{more}", "c.yaml"), around)


WORDS = [
    (LIBRARY, "", {}, "on", "on   train.py:1 uses deepctr.estimator"),
    (KERAS_FIT, "", {}, "unneeded", "off  nothing in train.py needs Keras 2"),
    (LIBRARY, "tune: {legacy-keras: false}", {}, "off", "off  c.yaml:3"),
    (KERAS_FIT, "tune: {legacy-keras: true}", {}, "on", "on   c.yaml:3"),
    (KERAS_FIT, "", {"TF_USE_LEGACY_KERAS": "1"}, "off", "on   TF_USE_LEGACY_KERAS=1 is set"),
    (LIBRARY, "env: {TF_USE_LEGACY_KERAS: '0'}", {}, "off", "off  TF_USE_LEGACY_KERAS=0 is set"),
]


@pytest.mark.parametrize(("text", "more", "env", "word", "shown"), WORDS)
def test_the_plan_says_what_and_why(text: str, more: str, env: dict[str, str], word: str, shown: str) -> None:
    plan = plan_of(text, more, env)
    assert {planned.env["TFLAUNCH_LEGACY_KERAS"] for planned in plan.tasks} == {word}
    (row,) = [line for line in as_text(plan).splitlines() if "tune.legacy-keras" in line]
    assert " ".join(shown.split()) in " ".join(row.split())


def test_preloaded_interpreters_are_kept_apart() -> None:
    assert plan_of(LIBRARY).tasks[0].preload_key != plan_of(KERAS_FIT).tasks[0].preload_key


# --- what else the files tell --------------------------------------------------------------------------------------

ESTIMATOR = f"{TF}import launcher.estimator\ntf.estimator.Estimator(f)\n"
MIRRORED = f"{ESTIMATOR}tf.distribute.MultiWorkerMirroredStrategy()\n"
ROLES = [
    (ESTIMATOR, "{ps: {}, chief: {}, worker: {}}", ""),
    (ESTIMATOR, "{chief: {}}", ""),
    (ESTIMATOR, "{ps: {count: 0}, chief: {}, worker: {}}", "needs parameter servers beside workers"),
    (ESTIMATOR, "{ps: {}, chief: {count: 0}, worker: {}}", "needs a chief"),
    (MIRRORED, "{ps: {count: 0}, chief: {}, worker: {}}", ""),
    (f"{TF}import launcher.estimator\n", "{ps: {}, chief: {count: 0}, worker: {}}", ""),
]


@pytest.mark.parametrize(("text", "roles", "words"), ROLES)
def test_an_estimator_in_a_cluster_that_is_not_for_it_is_foreseen(text: str, roles: str, words: str) -> None:
    around = Surroundings(python="/py", cwd="/w", env={}, read={"/w/train.py": text}.get)
    notes = build_plan(parse_spec(f"command: [train.py]\nroles: {roles}\n", "c.yaml"), around).notes
    found = [note for note in notes if note.startswith("train.py:3 uses tensorflow.estimator.Estimator: an Estimator")]
    assert [words in note for note in found] == [True] * bool(words)


PLAIN = [
    ("import json, os, time\nprint(os.environ['TF_CONFIG'])", {}, True),
    ("import helper\n", {"helper.py": "import json"}, True),
    ("from . import helper\n", {}, True),
    ("import helper\n", {"helper.py": "import numpy"}, False),
    ("import unknown\n", {}, False),
    ("def main():\n    import tensorflow\n", {}, False),
    ("import importlib\nimportlib.import_module('tensor' + 'flow')", {}, False),
    ("import subprocess\nsubprocess.run(['./start.sh'])", {}, False),
]


@pytest.mark.parametrize(("text", "beside", "is_plain"), PLAIN)
def test_what_needs_nothing_but_python_waits_for_no_preload(text: str, beside: dict[str, str], is_plain: bool) -> None:
    files = {"/w/train.py": text, **{f"/w/{name}": more for name, more in beside.items()}}
    spec = parse_spec("command: [train.py]\nroles: {ps: {}, chief: {}, worker: {count: 1}}\n")
    plan = build_plan(spec, Surroundings(python="/usr/bin/python3", cwd="/w", env={}, read=files.get))
    assert plan.preload == (() if is_plain else ("tensorflow",))
    reason = "the program imports nothing but the standard library" if is_plain else ""
    assert {planned.exec_reason for planned in plan.tasks} == {reason}


def test_a_preload_that_is_asked_for_is_made() -> None:
    spec = parse_spec("command: [train.py]\npreload: [json]\nroles: {ps: {}, chief: {}, worker: {count: 1}}\n")
    plan = build_plan(spec, Surroundings(python="/usr/bin/python3", cwd="/w", env={}, read={"/w/train.py": "1"}.get))
    assert plan.preload == ("json",)
