"""Several ranks under mpirun: the same gradient as one, the same summaries and scores, and an end with the number of a
rank that is gone."""

import json
import os
import re
import shutil
import signal
import subprocess
import time

import pytest
import torch

from train_support import PROGRAM, bytes_of, checkpoints, config_of, events, train, weights, write_world

RANKS = ["mpirun", "--oversubscribe", "--bind-to", "none", "-np", "2"]
ENVIRONMENT = {**os.environ, "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
               "OMP_NUM_THREADS": "1"}

pytestmark = pytest.mark.skipif(shutil.which("mpirun") is None, reason="no mpirun")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return write_world(tmp_path_factory.mktemp("ranks"))


def over_ranks(*arguments, code=0, ranks=2):
    command = [*RANKS[:-1], str(ranks), PROGRAM, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=300)
    assert done.returncode == code, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def train_over_ranks(folder, config, *arguments, **options):
    path = folder / "ranks.yaml"
    path.write_text(json.dumps(config), encoding="utf-8")
    return over_ranks("train", path, *arguments, **options)


def assert_same_run(one, several):
    for key in ("loss", "grad_norm", "source_tokens", "target_tokens", "learning_rate"):
        for a, b in zip(events(one, "step"), events(several, "step"), strict=True):
            assert a[key] == pytest.approx(b[key], rel=1e-9), key
    name = checkpoints(one)[-1]
    assert checkpoints(several)[-1] == name
    got, want = weights(several / name), weights(one / name)
    for tensor in want:
        torch.testing.assert_close(got[tensor], want[tensor], rtol=1e-8, atol=1e-11, msg=tensor)


@pytest.mark.parametrize("schedule, shared", [("auto", None), ("cached", 2), ("two_sweep", 2), ("streamed", 1)])
def test_two_ranks_are_one(world, tmp_path, schedule, shared):
    """Four documents an update, shared out whole or in windows, dropout included."""
    config = config_of(world, tmp_path / "one", precision="float64", steps=4, encoder={"schedule": schedule},
                       optimizer={"name": "sgd", "learning_rate": 0.1},
                       batch={"documents": 2, "accumulation": 2, "ranks_a_document": shared})
    config["batch"]["ranks_a_document"] = 1
    train(tmp_path, config)
    config["output"], config["batch"]["ranks_a_document"] = str(tmp_path / "two"), shared
    done = train_over_ranks(tmp_path, config)
    assert done.stdout == f"{tmp_path}/two/step-00000004\n"  # the leader's alone
    assert_same_run(tmp_path / "one", tmp_path / "two")
    scores = [[e[key] for key in ("loss", "rouge1", "mean_length")] for out in ("one", "two")
              for e in events(tmp_path / out, "validation")]
    assert scores[0] == pytest.approx(scores[1], rel=1e-9)


def test_one_document_an_update_is_shared_by_itself(world, tmp_path):
    config = config_of(world, tmp_path / "one", precision="float64", steps=3, batch={"documents": 1, "accumulation": 1},
                       optimizer={"name": "sgd", "learning_rate": 0.1}, validation={"every": 0})
    train(tmp_path, config)
    config["output"] = str(tmp_path / "two")
    train_over_ranks(tmp_path, config)
    assert_same_run(tmp_path / "one", tmp_path / "two")


def test_resume_is_bitwise_over_the_same_ranks(world, tmp_path):
    config = config_of(world, tmp_path / "whole", validation={"every": 0}, checkpoint={"keep": 9})
    train_over_ranks(tmp_path, config)
    shutil.copytree(tmp_path / "whole", tmp_path / "parts", symlinks=True)
    shutil.rmtree(tmp_path / "parts" / "step-00000012")
    shutil.rmtree(tmp_path / "parts" / "step-00000008")
    config["output"] = str(tmp_path / "parts")
    train_over_ranks(tmp_path, config)
    for name in ("step-00000008", "step-00000012"):
        assert bytes_of(tmp_path / "whole" / name) == bytes_of(tmp_path / "parts" / name)


def test_ranks_that_can_not_be_shared_out_are_refused(world, tmp_path):
    config = config_of(world, tmp_path / "out", batch={"ranks_a_document": 3})
    done = train_over_ranks(tmp_path, config, code=2)
    assert "batch.ranks_a_document" in done.stderr and "divisor of the 2 ranks" in done.stderr


def children(parent):
    found = subprocess.run(["pgrep", "-P", str(parent), "-f", "precis train"], capture_output=True, text=True)
    return [int(pid) for pid in found.stdout.split()]


def rank_of(pid):
    environment = open(f"/proc/{pid}/environ", "rb").read().split(b"\0")
    return next(int(entry.split(b"=")[1]) for entry in environment if entry.startswith(b"OMPI_COMM_WORLD_RANK="))


class Run:
    """A training over two ranks that goes on until it is stopped."""

    def __init__(self, world, folder, *arguments):
        config = config_of(world, folder / "out", steps=100000, validation={"every": 0}, checkpoint={"every": 5})
        path = folder / "endless.yaml"
        path.write_text(json.dumps(config), encoding="utf-8")
        self.process = subprocess.Popen([*RANKS, PROGRAM, "train", str(path), *arguments], text=True, env=ENVIRONMENT,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        until = time.time() + 60
        while not list((folder / "out").glob("step-*")) and time.time() < until:
            assert self.process.poll() is None, self.process.communicate()
            time.sleep(0.1)
        self.ranks = {rank_of(pid): pid for pid in children(self.process.pid)}
        assert sorted(self.ranks) == [0, 1]

    def end(self):
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, err


@pytest.mark.parametrize("dead", [0, 1])
def test_a_killed_rank_ends_the_other_with_its_number(world, tmp_path, dead):
    run = Run(world, tmp_path)
    os.kill(run.ranks[dead], signal.SIGKILL)
    began = time.time()
    code, err = run.end()
    assert code != 0 and time.time() - began < 20
    # Ours, or the launcher's own where it was faster to end the run.
    assert re.search(rf"rank {dead} of 2 has ended|process rank {dead} .*exited on signal 9", err), err
    train(tmp_path, config_of(world, tmp_path / "out", validation={"every": 0}, checkpoint={"every": 5}),
          "steps=6", "--resume", "never")  # the lock is free


@pytest.mark.parametrize("silent", [0, 1])
def test_a_rank_that_stands_still_ends_the_other_within_the_time_out(world, tmp_path, silent):
    run = Run(world, tmp_path, "--rank-timeout", "3")
    os.kill(run.ranks[silent], signal.SIGSTOP)
    began = time.time()
    code, err = run.end()
    assert code == 5 and time.time() - began < 20
    assert f"rank {silent} of 2 has not answered for 3 s" in err, err


def test_a_signal_to_one_rank_saves_once_and_ends_all(world, tmp_path):
    run = Run(world, tmp_path)
    os.kill(run.ranks[1], signal.SIGTERM)
    code, err = run.end()
    assert code == 143, err
    last = events(tmp_path / "out")[-1]
    assert last["event"] == "end" and last["reason"] == "terminated"
    assert checkpoints(tmp_path / "out")[-1] == f"step-{last['step']:08}"


def test_an_error_of_one_rank_ends_the_other(world, tmp_path):
    """A full disk is the leader's alone: the other only hears of its end."""
    config = config_of(world, tmp_path / "out", steps=100)
    (tmp_path / "out").mkdir()
    path = tmp_path / "config.yaml"
    path.write_text(json.dumps(config), encoding="utf-8")
    limited = 'ulimit -f 60; exec "$0" "$@"'
    done = subprocess.run([*RANKS, "bash", "-c", limited, PROGRAM, "train", str(path)], capture_output=True, text=True,
                          env=ENVIRONMENT, timeout=120)
    assert done.returncode == 5 and "rank 0: " in done.stderr, done.stderr


def test_evaluate_over_ranks_is_evaluate(world, tmp_path):
    arguments = ["evaluate", world / "model", "--data", world / "train.jsonl", "--format", "json", "--max-length", "12",
                 "--dtype", "float64", "--num-beams", "2", "--quiet"]
    alone = subprocess.run([PROGRAM, *map(str, arguments), "--output", str(tmp_path / "one")], capture_output=True,
                           text=True, check=True)
    several = over_ranks(*arguments, "--output", tmp_path / "two")
    one, two = json.loads(alone.stdout), json.loads(several.stdout)
    assert one.keys() == two.keys()
    rows = [[json.loads(line) for line in (tmp_path / name).read_text().splitlines()] for name in ("one", "two")]
    for a, b in zip(*rows, strict=True):  # other documents share a batch: the order of sums differs
        assert a.pop("loss") == pytest.approx(b.pop("loss"), rel=1e-12)
        assert a == b
    assert one["rouge1"] == two["rouge1"]


def test_summarize_over_ranks_prints_in_order(world, tmp_path):
    arguments = ["summarize", world / "model", world / "train.jsonl", "--max-length", "12", "--num-beams", "2"]
    for form in ("text", "jsonl"):
        call = [*map(str, arguments), "--format", form]
        alone = subprocess.run([PROGRAM, *call], capture_output=True, text=True, check=True).stdout
        several = over_ranks(*call, ranks=3).stdout
        if form == "text":
            assert several == alone
            continue
        for a, b in zip(alone.splitlines(), several.splitlines(), strict=True):
            a, b = json.loads(a), json.loads(b)
            assert all(a[key] == b[key] for key in ("id", "summary", "token_ids", "input_tokens"))


def test_summarize_over_ranks_reads_no_pipe(world):
    done = over_ranks("summarize", world / "model", "-", code=2)
    assert "several ranks read files alone" in done.stderr


def ip(*arguments):
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


@pytest.fixture
def two_hosts(tmp_path):
    """Two network namespaces with a cable between them; a command line that runs one rank in each."""
    if shutil.which("ip") is None:
        pytest.skip("no ip of iproute2")
    names = [f"precis-{os.getpid()}-{side}" for side in "ab"]
    cable = [f"p{os.getpid() % 100000}{side}" for side in "ab"]
    try:
        for name in names:
            ip("netns", "add", name)
        ip("link", "add", cable[0], "type", "veth", "peer", "name", cable[1])
        for number, (name, end) in enumerate(zip(names, cable), 1):
            ip("link", "set", end, "netns", name)
            ip("-n", name, "addr", "add", f"10.77.0.{number}/24", "dev", end)
            for device in (end, "lo"):
                ip("-n", name, "link", "set", device, "up")
    except (OSError, subprocess.CalledProcessError) as refused:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)
        pytest.skip(f"no network namespaces: {refused}")
    agent = tmp_path / "agent"  # in the place of ssh: the host's name, then what to run there
    agent.write_text(f'#!/bin/sh\nshift\nexec ip netns exec {names[1]} unshare -u sh -c "hostname hostb; $*"\n')
    agent.chmod(0o755)
    network = "10.77.0.0/24"
    launch = ["mpirun", "--allow-run-as-root", "--mca", "plm_rsh_agent", str(agent), "--mca", "btl", "tcp,self",
              "--mca", "oob_tcp_if_include", network, "--mca", "btl_tcp_if_include", network,
              "--host", "10.77.0.1:1,10.77.0.2:1", "-x", "OMP_NUM_THREADS", "-np", "2"]
    yield ["ip", "netns", "exec", names[0], "unshare", "-u", "sh", "-c", 'hostname hosta; exec "$@"', "sh", *launch]
    for name in names:
        ip("netns", "del", name)


def test_two_hosts_are_one(world, tmp_path, two_hosts):
    config = config_of(world, tmp_path / "one", precision="float64", steps=3, batch={"documents": 1, "accumulation": 1},
                       optimizer={"name": "sgd", "learning_rate": 0.1}, validation={"every": 0})
    train(tmp_path, config)
    config["output"] = str(tmp_path / "two")
    path = tmp_path / "hosts.yaml"
    path.write_text(json.dumps(config), encoding="utf-8")
    done = subprocess.run([*two_hosts, PROGRAM, "train", str(path)], capture_output=True, text=True, env=ENVIRONMENT,
                          timeout=120)
    assert done.returncode == 0, done.stderr
    assert_same_run(tmp_path / "one", tmp_path / "two")


def test_a_rank_that_is_killed_on_another_host_ends_this_one(world, tmp_path, two_hosts):
    config = config_of(world, tmp_path / "out", steps=100000, validation={"every": 0}, checkpoint={"every": 5})
    path = tmp_path / "endless.yaml"
    path.write_text(json.dumps(config), encoding="utf-8")
    run = subprocess.Popen([*two_hosts, PROGRAM, "train", str(path)], text=True, env=ENVIRONMENT,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    until = time.time() + 60
    while not list((tmp_path / "out").glob("step-*")) and time.time() < until:
        assert run.poll() is None, run.communicate()
        time.sleep(0.1)
    found = subprocess.run(["pgrep", "-f", f"precis train {path}"], capture_output=True, text=True).stdout.split()
    ranks = {}
    for pid in map(int, found):
        if os.readlink(f"/proc/{pid}/exe").endswith("/precis"):
            ranks[rank_of(pid)] = pid
    os.kill(ranks[1], signal.SIGKILL)
    out, err = run.communicate(timeout=60)
    assert run.returncode != 0
    assert re.search(r"rank 1 of 2 has ended|process rank 1 .*exited on signal 9", err), err
