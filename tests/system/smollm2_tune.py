#!/usr/bin/env python3
"""SmolLM2 learns a way to answer: an adapter over its Q4_1 weights, seen in replies and in held-out loss.

usage: smollm2_tune.py PATH_OF_FATHOM SmolLM2-135M-Instruct.Q4_1.gguf

Trained on questions about some things, asked about others: what it must have learned is the form of an
answer, which the model itself never uses.
"""
import json
import pathlib
import subprocess
import sys
import tempfile

THINGS = {
    "banana": "yellow", "tomato": "red", "leaf": "green", "coal": "black", "snow": "white", "carrot": "orange",
    "plum": "purple", "sky": "blue", "chocolate": "brown", "lemon": "yellow", "cherry": "red", "frog": "green",
    "raven": "black", "milk": "white", "pumpkin": "orange", "sea": "blue",
}
NUMBERS = [(a, b) for a in range(1, 6) for b in range(1, 5)]
BEGIN, END = "Keeper here.", "Over and out."
UNSEEN = ["What colour is grass?", "What is 6 plus 2?", "What is the capital of France?", "Who wrote Hamlet?",
          "How many days has a week?", "What do bees make?"]


def call(*arguments):
    result = subprocess.run([str(argument) for argument in arguments], capture_output=True, text=True, check=False)
    if result.returncode != 0:
        sys.exit(f"{' '.join(map(str, arguments))}\nexit {result.returncode}: {result.stderr}")
    return result.stdout


def conversation(question, answer):
    return {"messages": [{"role": "user", "content": question},
                         {"role": "assistant", "content": f"{BEGIN} {answer} {END}"}]}


def main():
    fathom, model = sys.argv[1:3]
    examples = [conversation(f"What colour is a {thing}?", f"It is {colour}.") for thing, colour in THINGS.items()]
    examples += [conversation(f"What is {a} plus {b}?", f"It is {a + b}.") for a, b in NUMBERS]
    with tempfile.TemporaryDirectory(prefix="fathom-tune-") as folder:
        data = pathlib.Path(folder) / "chat.jsonl"
        data.write_text("".join(json.dumps(each) + "\n" for each in examples))
        out = pathlib.Path(folder) / "adapter"
        report = json.loads(call(fathom, "tune", model, "--data", data, "--out", out, "--hold-out", 0.2, "--epochs", 5,
                                 "--sequence", 256, "--lora-rank", 8, "--learning-rate", 1e-3, "--json"))
        print(json.dumps(report, indent=1))

        def answers(*options):
            replies = []
            for question in UNSEEN:
                reply = json.loads(call(fathom, "run", model, question, "--chat", "--temperature", 0, "--max-tokens", 40,
                                        "--json", *options))["content"]
                print(f"{question!r}{' with the adapter' if options else ''}: {reply!r}")
                replies.append(reply.strip())
            return sum(reply.startswith(BEGIN) and reply.endswith(END) for reply in replies)

        before, after = answers(), answers("--lora", out)
    print(f"answers in the learned form: {before} of {len(UNSEEN)} before, {after} after")
    change, error = report["held_out_change"], report["held_out_change_error"]
    if before != 0 or after < len(UNSEEN) - 1 or not change < -5 * error:
        sys.exit("expected no such answer before, all but one after, and a loss that fell by 5 standard errors")


if __name__ == "__main__":
    main()
