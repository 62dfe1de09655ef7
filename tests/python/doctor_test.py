"""`precis doctor` against what Python, torch and the kernel say of the same machine."""

import json
import os
import platform
import pwd
import shutil
import socket
import subprocess

import torch


def report(run, precis, *arguments, **options):
    return json.loads(run([precis, "doctor", "--format", "json", *arguments], **options).stdout)


def test_it_says_what_others_say(run, precis, tmp_path):
    found = report(run, precis, cwd=tmp_path)
    assert found["libtorch"]["version"].split("+")[0] == torch.__version__.split("+")[0]
    assert found["libtorch"]["cpu_kernels"] == torch.backends.cpu.get_cpu_capability()
    assert found["libtorch"]["cuda"] == torch.cuda.is_available()
    assert found["precis"]["version"] in run([precis, "--version"]).stdout
    assert found["libraries"]["libc"] == platform.libc_ver()[1]
    assert found["system"]["release"] == platform.release() and found["system"]["architecture"] == platform.machine()
    assert found["cpu"]["processors"] == os.cpu_count() and found["cpu"]["allowed"] == len(os.sched_getaffinity(0))
    assert found["memory"]["total"] == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert 0 < found["memory"]["available"] < found["memory"]["total"]
    assert [disk["folder"] for disk in found["disks"]] == ["working", "temporary"]
    assert found["disks"][0]["total"] == shutil.disk_usage(tmp_path).total
    flags = next(line for line in open("/proc/cpuinfo") if line.startswith(("flags", "Features"))).split(":")[1].split()
    assert set(found["cpu"]["features"]) <= set(flags)
    assert ("avx2" in found["cpu"]["features"]) == ("avx2" in flags)
    assert ("avx512_bf16" in found["cpu"]["features"]) == ("avx512_bf16" in flags)


def test_threads_limits_and_environment_are_this_process(run, precis):
    environment = {"OMP_NUM_THREADS": "1", "LANG": "C.UTF-8", "TERM": "dumb", "PATH": "/usr/bin"}
    found = report(run, precis, env=environment)
    assert found["threads"]["compute"] == 1 and found["threads"]["OMP_NUM_THREADS"] == "1"
    assert found["locale"] == {"LANG": "C.UTF-8", "LC_ALL": None, "LC_CTYPE": None}
    assert found["terminal"]["TERM"] == "dumb" and not found["terminal"]["stdout"]
    assert report(run, precis, "--threads", "3", env=environment)["threads"]["compute"] == 3
    limited = subprocess.run(["bash", "-c", 'ulimit -n 77 -f 1000; exec "$0" doctor --format json', str(precis)],
                             capture_output=True, text=True, check=True)
    assert json.loads(limited.stdout)["limits"]["open_files"] == 77
    assert json.loads(limited.stdout)["limits"]["file_size"] == 1000 * 1024


def test_notes_tell_what_hurts(run, precis):
    allowed = len(os.sched_getaffinity(0))
    assert not any("threads compute" in note for note in report(run, precis, "--threads", "1")["notes"])
    notes = report(run, precis, "--threads", str(4 * allowed))["notes"]
    assert any(f"{4 * allowed} threads compute" in note for note in notes)


def test_it_names_no_machine_user_or_folder(run, precis, tmp_path):
    for form in ("text", "json"):
        text = run([precis, "doctor", "--format", form], cwd=tmp_path, env={**os.environ, "TMPDIR": str(tmp_path)}).stdout
        assert str(tmp_path) not in text and os.path.expanduser("~") not in text
        if len(socket.gethostname()) > 3:
            assert socket.gethostname() not in text
        if len(pwd.getpwuid(os.getuid()).pw_name) > 4:
            assert pwd.getpwuid(os.getuid()).pw_name not in text


def test_it_fails_for_nothing_that_is_missing(run, precis):
    """No environment, no temporary folder, bytes that are no text."""
    done = subprocess.run([precis, "doctor", "--format", "json"], env={b"TMPDIR": b"/none", b"TERM": b"\xff"},
                          capture_output=True, check=True)
    found = json.loads(done.stdout)
    assert found["terminal"]["TERM"] == "\ufffd" and found["locale"]["LANG"] is None
    assert found["disks"][1] == {"folder": "temporary", "file_system": None, "total": None, "available": None}


def test_text_holds_the_same(run, precis):
    text = run([precis, "doctor"]).stdout
    for word in ("precis", "libtorch", "cpu", "memory", "disk", "limits", torch.__version__.split("+")[0]):
        assert word in text


def test_what_it_has_no_use_for_is_refused(run, precis):
    assert "dtype" in run([precis, "doctor", "--dtype", "float64"], code=2).stderr
    assert "did you mean" in run([precis, "docter"], code=2).stderr
