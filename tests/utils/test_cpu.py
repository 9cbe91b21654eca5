import json
import os
import subprocess
import sys

import pytest

from passl.utils import cpu

REPORT = "import json; from passl.utils.cpu import configure_cpu; print(json.dumps(configure_cpu()))"


def report(code=REPORT, **variables):
    environment = {k: v for k, v in os.environ.items() if k not in ("MKL_DEBUG_CPU_TYPE", "OMP_NUM_THREADS")}
    environment.update(variables, PYTHONPATH=os.getcwd())
    output = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return json.loads(output.stdout.splitlines()[-1])


def test_settings_of_the_user_are_kept():
    settings = report(MKL_DEBUG_CPU_TYPE="4", OMP_NUM_THREADS="1")
    assert settings["matrix products"] == "MKL_DEBUG_CPU_TYPE=4 from the environment"
    assert settings["threads"] == "OMP_NUM_THREADS=1 from the environment"


def test_environment_variable_turns_everything_off():
    code = REPORT + "; import os; assert 'OMP_NUM_THREADS' not in os.environ"
    assert report(code, PASSL_CPU_SETTINGS="0") == {"all": "left alone (PASSL_CPU_SETTINGS=0)"}


def test_threads_are_shared_by_the_processes_of_a_machine():
    code = "import json; from passl.utils.cpu import *; print(json.dumps([configure_cpu(10**6), usable_cores()]))"
    settings, _ = report(code)
    assert settings["threads"] == "1"


def test_threads_are_set_in_a_process_that_imported_paddle_first():
    code = "import paddle\n" + REPORT.replace("; ", "\n") + "\n"
    assert report(code)["threads"] == str(cpu.usable_cores())


@pytest.mark.parametrize(
    "vendor, flags, value",
    [
        ("AuthenticAMD", {"avx2", "fma"}, "5"),
        ("AuthenticAMD", {"avx2", "fma", "avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512cd"}, "7"),
        ("AuthenticAMD", {"avx"}, None),
        ("GenuineIntel", {"avx2", "fma"}, None),
    ],
)
def test_mkl_path_is_chosen_only_where_the_processor_has_it(monkeypatch, vendor, flags, value):
    monkeypatch.setattr(cpu, "_processor", lambda: (vendor, flags))
    monkeypatch.setattr(os, "environ", {})
    cpu._choose_mkl_path()
    assert os.environ.get("MKL_DEBUG_CPU_TYPE") == value
