#!/usr/bin/env python3
"""Starts a server, runs an unmodified API client against it, stops it; the client's exit code.

usage: run_test.py CLIENT --node-dir FOLDER --server REPLAY_SERVER
       run_test.py CLIENT --node-dir FOLDER --fathom FATHOM --model MODEL.gguf

CLIENT: one of those below. All of it runs in a network namespace of its own, where there is nothing but the
loopback interface: no client reaches anything else. Run it with the Python of tools/install_clients.
"""
import argparse
import contextlib
import fcntl
import os
import pathlib
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
KEY = "test-key-0123456789abcdef"
AGENTS = ("codex", "claude", "opencode")
PYTHON_CLIENTS = ("openai_python", "anthropic_python", "lm_eval_client", "schemathesis_client")
NODE_CLIENTS = ("openai_node", "anthropic_node", "ai_sdk")
ISOLATED = "FATHOM_TEST_IS_ISOLATED"
TIMEOUT_S = 840  # of the client, before ctest's


def isolate():
    """Starts this program anew without any network but its own loopback interface."""
    if ISOLATED in os.environ:
        with socket.socket() as s:  # SIOCGIFFLAGS, SIOCSIFFLAGS: linux/sockios.h; IFF_UP is 1
            request = bytearray(struct.pack("16sh14x", b"lo", 0))
            fcntl.ioctl(s, 0x8913, request)
            flags = struct.unpack("16sh14x", request)[1]
            fcntl.ioctl(s, 0x8914, struct.pack("16sh14x", b"lo", flags | 1))
        interfaces = [name for _, name in socket.if_nameindex()]
        if interfaces != ["lo"]:
            raise SystemExit(f"found the network interfaces {interfaces}, expected lo alone")
        return
    unshare = ["unshare", "--net"] + ([] if os.geteuid() == 0 else ["--map-root-user"])
    os.environ[ISOLATED] = "1"
    os.execvp(unshare[0], [*unshare, sys.executable, *sys.argv])


@contextlib.contextmanager
def running(command, log_path):
    """The base URL of a server that prints `... http://HOST:PORT ...` when it listens."""
    with log_path.open("w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    try:
        yield wait_for_url(server, log_path)
    except BaseException:
        server.kill()
        server.wait()
        raise
    server.send_signal(signal.SIGTERM)
    code = server.wait(60)
    if code != 0:
        raise SystemExit(f"the server ended with {code}, expected 0:\n{log_path.read_text()}")


def wait_for_url(server, log_path):
    for _ in range(1200):
        found = re.search(r"http://[\w.]+:\d+", log_path.read_text())
        if found:
            return found.group()
        if server.poll() is not None:
            break
        time.sleep(0.1)
    raise SystemExit(f"the server does not listen:\n{log_path.read_text()}")


def client_command(options, scratch):
    if options.client in AGENTS:
        return [sys.executable, HERE / "agent_cli.py", options.client, "--node-dir", options.node_dir]
    if options.client in PYTHON_CLIENTS:
        command = [sys.executable, HERE / f"{options.client}.py"]
        if options.client == "lm_eval_client":
            command += ["--fathom", options.fathom, "--file", options.model]
        return command
    # Node looks for packages beside a script.
    (scratch / "node_modules").symlink_to(options.node_dir / "node_modules")
    for script in HERE.glob("*.mjs"):
        shutil.copy(script, scratch)
    return [pathlib.Path(sys.executable).parent / "node", scratch / f"{options.client}.mjs"]


def main():
    parser = argparse.ArgumentParser(description="an API client against a server")
    parser.add_argument("client", choices=AGENTS + PYTHON_CLIENTS + NODE_CLIENTS)
    parser.add_argument("--node-dir", required=True, type=pathlib.Path)
    parser.add_argument("--server", type=pathlib.Path, help="replay_server")
    parser.add_argument("--fathom", type=pathlib.Path)
    parser.add_argument("--model", type=pathlib.Path, help="for fathom serve")
    options = parser.parse_args()
    isolate()
    for name in "node_dir", "server", "fathom", "model":
        path = getattr(options, name)
        setattr(options, name, path and path.resolve())
    with tempfile.TemporaryDirectory(prefix="fathom-client-") as folder:
        scratch = pathlib.Path(folder)
        log_path = scratch / "server.log"
        command = client_command(options, scratch)
        if options.server:
            server = [options.server, "--listen", "127.0.0.1:0", "--key", KEY]
            command += ["--key", KEY, "--log", log_path]
        else:
            (scratch / "keys").write_text(KEY + "\n")
            server = [options.fathom, "serve", options.model, "--listen", "127.0.0.1:0", "--api-keys", scratch / "keys"]
            command += ["--key", KEY, "--model", options.model.stem]
        with running(server, log_path) as url:
            # Nothing of the user's: neither settings nor proxies nor keys.
            environment = {"HOME": folder, "TMPDIR": folder, "PATH": os.environ["PATH"], "LANG": "C.UTF-8",
                           "PYTHONDONTWRITEBYTECODE": "1"}
            code = subprocess.run([*command, "--base-url", url], env=environment, stdin=subprocess.DEVNULL, cwd=scratch,
                                  check=False, timeout=TIMEOUT_S).returncode
        if code != 0:
            print("--- the server's log", log_path.read_text(), sep="\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
