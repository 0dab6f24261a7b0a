"""Who may import whom: the import-linter contracts of pyproject.toml, and that no module escapes them."""

import ast
import functools
import importlib.util
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

pytestmark = pytest.mark.unmeasured

ROOT = Path(__file__).parents[2]
CONFIG = tomllib.loads((ROOT / "pyproject.toml").read_text())
CONTRACTS = {contract["name"]: contract for contract in CONFIG["tool"]["importlinter"]["contracts"]}
PACKAGES = [name.removesuffix("*") for name in CONFIG["tool"]["setuptools"]["packages"]["find"]["include"]]


@functools.cache
def imports() -> frozenset[tuple[str, str]]:
    """Each file of ours with each top-level package that it imports, wherever in the file it does so."""
    return frozenset(_find_imports())


def _find_imports() -> Iterator[tuple[str, str]]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_bytes())):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                yield from ((str(path.relative_to(ROOT)), name.partition(".")[0]) for name in names)


def importers_of(*packages: str) -> set[str]:
    """Files that import one of these."""
    return {path for path, package in imports() if package in packages}


def test_import_contracts_hold(capsys: pytest.CaptureFixture[str]) -> None:
    """Processes never import each other, common knows no process, deciding modules touch no machine."""
    exit_code = lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True)

    assert exit_code == 0, capsys.readouterr().out


def test_contracts_read_the_checkout_that_is_tested() -> None:
    """They analyse installed packages: these must be ours and no other copy."""
    found = [importlib.util.find_spec(package) for package in PACKAGES]

    assert [spec is not None and Path(str(spec.origin)).is_relative_to(ROOT) for spec in found] == [True] * len(found)


def test_every_package_is_under_contract() -> None:
    """A new process folder is added to the contracts and to the type checks together with its package."""
    assert set(CONFIG["tool"]["importlinter"]["root_packages"]) == set(PACKAGES)
    assert set(CONFIG["tool"]["mypy"]["packages"]) == set(PACKAGES)


def test_every_process_is_independent_and_unknown_to_common() -> None:
    """Each folder with a front door, except backtest, benchmarks and chaos, which run them all."""
    processes = {name for name in PACKAGES if (ROOT / name / "__main__.py").is_file()} - {
        "common",
        "backtest",
        "benchmarks",
        "chaos",
    }

    independent = CONTRACTS["Processes never import each other: they meet on the wire"]
    unknown = CONTRACTS["common knows no process"]

    assert processes <= set(independent["modules"])
    assert processes <= set(unknown["forbidden_modules"])


def test_module_that_a_contract_names_exists() -> None:
    """A contract about a module that was renamed would hold for ever."""
    named = {
        module
        for contract in CONTRACTS.values()
        for module in [*contract.get("source_modules", []), *contract.get("modules", [])]
    }

    paths = {module: ROOT.joinpath(*module.split(".")) for module in sorted(named)}
    missing = [name for name, path in paths.items() if not path.with_suffix(".py").is_file() and not path.is_dir()]
    assert missing == []


def test_only_sockets_import_zmq() -> None:
    """Also the modules that the contract does not name. Benchmarks measure bare sockets beside ours."""
    foreign = {path for path in importers_of("zmq") if not path.startswith(("common/sockets/", "benchmarks/"))}

    assert foreign == set()


def test_only_the_clock_reads_time() -> None:
    """Everything else is handed a clock or a `now_ns`, so that a simulation can decide what time it is."""
    assert importers_of("time") == {"common/clock.py"}


def test_nothing_is_pickled() -> None:
    """Unpickling runs what the sender wants."""
    assert importers_of("pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "joblib") == set()
    users = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py") if "pickle" in path.read_text()]
    assert users == []
