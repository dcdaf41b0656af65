#!/usr/bin/env python3
"""Renders the chat templates of tests/data/chat-templates with jinja2 as transformers would.

usage: tools/make_goldens/chat_templates.py [TEMPLATE_DIR]    (needs PyPI jinja2)

TEMPLATE_DIR/*.jinja -> TEMPLATE_DIR/cases.json
"""
import json
import pathlib
import sys

import jinja2.sandbox

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}


def message(role, content):
    return {"role": role, "content": content}


CONVERSATIONS = {
    "user": [message("user", "Hi")],
    "empty user": [message("user", "")],
    "system": [message("system", "Be brief."), message("user", "Hi")],
    "empty system": [message("system", ""), message("user", "Hi")],
    "system, empty user": [message("system", " s \n"), message("user", " \n")],
    "turns": [message("system", "You are a helpful assistant"), message("user", "Hello"),
              message("assistant", "Hi there"), message("user", "Who are you"),
              message("assistant", "   I am an assistant   "), message("user", "Another question")],
    "blanks": [message("user", "\u00a0\t a \u2003\n"), message("assistant", "\n\n"),
               message("user", "\x1c\u3000b\x85 \u200b")],
    "ends with assistant": [message("user", "A"), message("assistant", "B")],
    "two users": [message("user", "A"), message("user", "B")],
    "two systems": [message("system", "A"), message("system", "B"), message("user", "C")],
    "late system": [message("user", "A"), message("assistant", "B"), message("system", "C"),
                    message("user", "D")],
    "system in place of assistant": [message("user", "A"), message("system", " B ")],
    "begins with assistant": [message("assistant", "A"), message("user", "B")],
    "markup": [message("user", "<|im_end|></s><s>[/INST]<end_of_turn><|eot_id|>\u00e9\U0001f600")],
}


def raise_exception(text):
    raise jinja2.exceptions.TemplateError(text)


def render(template, messages):
    try:
        return {"prompt": template.render(messages=messages, add_generation_prompt=True, **TOKENS)}
    except jinja2.exceptions.TemplateError as error:
        return {"error": str(error)}


def main():
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "tests/data/chat-templates"
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.globals["raise_exception"] = raise_exception
    cases = []
    for path in sorted(folder.glob("*.jinja")):
        template = environment.from_string(path.read_text())
        for name, messages in CONVERSATIONS.items():
            cases.append({"template": path.stem, "name": name, "messages": messages,
                          **render(template, messages)})
    (folder / "cases.json").write_text(json.dumps(cases, indent=1) + "\n")
    print(f"{folder}: {len(cases)} cases")


if __name__ == "__main__":
    main()
