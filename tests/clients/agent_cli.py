#!/usr/bin/env python3
"""A coding agent's command line against the replay server: it has a file written by a tool and reports.

usage: agent_cli.py codex|claude|opencode --base-url URL --key KEY --log FILE --node-dir FOLDER
Everything that the agent keeps goes into a folder of its own that is removed afterwards.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import time

MODEL = "test-model"
DONE = "The file is written."
TIMEOUT_S = 120


def codex(home, options):
    (home / ".codex").mkdir()
    (home / ".codex/config.toml").write_text(f"""
model = "{MODEL}"
model_provider = "fathom"
check_for_update_on_startup = false
[analytics]
enabled = false
[model_providers.fathom]
name = "Fathom"
base_url = "{options.base_url}/v1"
wire_api = "responses"
env_key = "FATHOM_API_KEY"
""")
    return ["codex", "exec", "--skip-git-repo-check", "--sandbox", "workspace-write"], {"FATHOM_API_KEY": options.key}


def claude(_, options):
    return ["claude", "--print", "--permission-mode", "acceptEdits"], {
        "ANTHROPIC_BASE_URL": options.base_url, "ANTHROPIC_AUTH_TOKEN": options.key, "ANTHROPIC_MODEL": MODEL,
        "ANTHROPIC_DEFAULT_HAIKU_MODEL": MODEL}


def opencode(home, options):
    folder = home / ".config/opencode"
    folder.mkdir(parents=True)
    provider = {"npm": "@ai-sdk/openai-compatible", "name": "Fathom",
                "options": {"baseURL": options.base_url + "/v1", "apiKey": options.key},
                "models": {MODEL: {"name": MODEL, "limit": {"context": 131072, "output": 4096}}}}
    (folder / "opencode.json").write_text(json.dumps({
        "model": f"fathom/{MODEL}", "small_model": f"fathom/{MODEL}", "autoupdate": False, "share": "disabled",
        "provider": {"fathom": provider}, "permission": {"edit": "allow"}}))
    return ["opencode", "run"], {}


# What each asks of the server for the task when nothing goes wrong: a request more is one that it tried again.
AGENTS = {
    codex: ["POST /v1/responses 200"] * 2,
    claude: ["HEAD /api/hello 200"] + ["POST /v1/messages 200"] * 2,
    opencode: ["POST /v1/chat/completions 200"] * 3,
}


def run_agent(agent, home, options):
    """Runs the agent in its folder and returns what is wrong with the outcome."""
    work = home / "work"
    work.mkdir()
    command, environment = agent(home, options)
    bin_dirs = [options.node_dir / "node_modules/.bin", pathlib.Path(sys.executable).parent, "/usr/bin", "/bin"]
    environment |= {"HOME": str(home), "TMPDIR": str(home), "PATH": ":".join(map(str, bin_dirs)), "TERM": "dumb"}
    task = f"create {work}/hello.txt with the text hi, then say done"
    before = len(options.log.read_text().splitlines())
    result = subprocess.run([*command, task], cwd=work, env=environment, stdin=subprocess.DEVNULL, check=False,
                            capture_output=True, text=True, timeout=TIMEOUT_S)
    time.sleep(1)  # the log has a request once it is over
    requests = [" ".join(line.split()[:3]) for line in options.log.read_text().splitlines()[before:]]
    print(result.stdout, result.stderr, *requests, sep="\n")
    problems = []
    if result.returncode != 0:
        problems.append(f"exit code {result.returncode}, expected 0")
    if DONE not in result.stdout:
        problems.append(f"stdout lacks {DONE!r}")
    files = {path.name: path.read_text() for path in work.iterdir() if path.is_file()}
    if files != {"hello.txt": "hi"}:
        problems.append(f"files {files}, expected hello.txt with hi")
    if requests != AGENTS[agent]:
        problems.append(f"requests {requests}, expected {AGENTS[agent]}")
    return problems


def main():
    agents = {agent.__name__: agent for agent in AGENTS}
    parser = argparse.ArgumentParser(description="a coding agent against the replay server")
    parser.add_argument("agent", choices=agents)
    parser.add_argument("--base-url", required=True)
    parser.add_argument("--key", required=True)
    parser.add_argument("--log", required=True, type=pathlib.Path)
    parser.add_argument("--node-dir", required=True, type=pathlib.Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fathom-agent-") as scratch:
        problems = run_agent(agents[options.agent], pathlib.Path(scratch), options)
    for problem in problems:
        print("FAILED", problem)
    print(f"{int(not problems)} passed, {int(bool(problems))} failed")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
