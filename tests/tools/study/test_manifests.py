"""Tests the manifests for Kubernetes and SkyPilot: syntax, commands and exit codes."""

import argparse
import os
import shlex
import subprocess

import pytest
import yaml

from clinometer.tools.study.engines import policy
from clinometer.train import config as config_lib
from clinometer.train import exit_codes
from clinometer.train.hosts import options

_FOLDER = "tools/study/manifests"


def _read(repo_root, name):
    return yaml.safe_load((repo_root / _FOLDER / name).read_text(encoding="utf-8"))


def _check_command(words, repo_root):
    """Checks a command of `clinometer train`; returns the options for its processes."""
    assert words[:2] == ["clinometer", "train"]
    parser = argparse.ArgumentParser()
    for name in ("--model", "--workdir"):
        parser.add_argument(name, required=True)
    options.add_to(parser)
    given, overrides = parser.parse_known_args(words[2:])
    config = f"{repo_root}/train/configs/pretrain.py:{given.model}"
    config_lib.load(config, overrides)  # Refuses fields that do not exist.
    return options.parse(given)


def _again(code):
    return policy.after(code, 0) in (policy.Next.AGAIN, policy.Next.WAIT)


def test_the_job_set_starts_a_process_for_each_pod(repo_root):
    found = _read(repo_root, "jobset.yaml")
    assert found["apiVersion"] == "jobset.x-k8s.io/v1alpha2"
    assert found["kind"] == "JobSet"
    assert "kueue.x-k8s.io/queue-name" in found["metadata"]["labels"]
    (hosts,) = found["spec"]["replicatedJobs"]
    job = hosts["template"]["spec"]
    assert job["completionMode"] == "Indexed"
    (container,) = job["template"]["spec"]["containers"]
    command = [
        word.replace("$(JOB_COMPLETION_INDEX)", "3") for word in container["command"]
    ]
    processes = _check_command(command, repo_root)
    assert processes.num_processes == job["completions"] == job["parallelism"]
    # JobSet calls its first pod NAME-JOB-0-0, in a domain of its own name.
    name = found["metadata"]["name"]
    host, port = processes.address
    assert host == f"{name}-{hosts['name']}-0-0.{name}"
    assert [port] == [each["containerPort"] for each in container["ports"]]


def test_the_job_set_treats_exit_codes_as_the_policy_does(repo_root):
    (hosts,) = _read(repo_root, "jobset.yaml")["spec"]["replicatedJobs"]
    rules = hosts["template"]["spec"]["podFailurePolicy"]["rules"]

    def action(code):
        for rule in rules:
            if "onExitCodes" in rule:
                listed = code in rule["onExitCodes"]["values"]
                if listed == (rule["onExitCodes"]["operator"] == "In"):
                    return rule["action"]
        raise AssertionError(code)

    for code in range(1, 128):
        assert (action(code) != "FailJob") == _again(code), code
    assert action(exit_codes.HELD) == "Count"


def test_the_job_of_skypilot(repo_root):
    found = _read(repo_root, "skypilot.yaml")
    recovery = found["resources"]["job_recovery"]
    codes = range(1, 128)
    assert recovery["recover_on_exit_codes"] == [c for c in codes if _again(c)]
    script = found["run"].replace(".venv/bin/clinometer", "printf '%s\\n' clinometer")
    variables = {
        **os.environ,
        **found["envs"],
        "SKYPILOT_NODE_IPS": "10.0.0.1\n10.0.0.2",
        "SKYPILOT_NUM_NODES": str(found["num_nodes"]),
        "SKYPILOT_NODE_RANK": "1",
    }
    done = subprocess.run(
        ["bash", "-euc", script],
        env=variables,
        capture_output=True,
        text=True,
        check=True,
    )
    processes = _check_command(shlex.split(done.stdout), repo_root)
    assert processes.address == ("10.0.0.1", 29400)
    assert (processes.num_processes, processes.process_id) == (found["num_nodes"], 1)


def test_a_field_that_does_not_exist_is_seen(repo_root):
    words = ["clinometer", "train", "--model=glu-pico", "--workdir=x"]
    _check_command(words, repo_root)
    with pytest.raises(ValueError):
        _check_command([*words, "--config.mesh.fdsp=8"], repo_root)
