"""Real texts in several languages, out of the Debian packages that tools/install_text_data unpacks."""
import gzip
import pathlib

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TEXTS = ROOT / "build/texts/root"
VENV_PYTHON = ROOT / "build/text-venv/bin/python"
SOURCES = [  # folder, files, share
    ("usr/share/doc/python3.11/html", "*.html", 4),
    ("usr/share/doc/linux-doc-6.1/Documentation", "*", 4),
    ("usr/share/doc/postgresql-doc-15/html", "*.html", 3),
    ("usr/share/libreoffice/help/en-US", "*", 3),
    ("usr/share/man/de", "*.gz", 1),
    ("usr/share/man/fr", "*.gz", 1),
    ("usr/share/man/ja", "*.gz", 1),
    ("usr/share/man/pl", "*.gz", 1),
    ("usr/share/man/ru", "*.gz", 1),
    ("usr/share/man/zh_CN", "*.gz", 1),
]


def read(path):
    data = gzip.open(path).read() if path.suffix == ".gz" else path.read_bytes()
    return data.decode("utf-8", "replace")


def texts(num_bytes):
    """At least num_bytes of UTF-8 in whole files, spread over all sources. A missing one is an error."""
    total_share = sum(share for _, _, share in SOURCES)
    result = []
    for folder, pattern, share in SOURCES:
        files = sorted(path for path in (TEXTS / folder).rglob(pattern)
                       if path.is_file() and not path.is_symlink() and path.suffix not in (".png", ".svg"))
        wanted = num_bytes * share / total_share
        size = 0
        # A stride that is prime to most counts takes files from everywhere in the folder.
        for i in range(len(files)):
            text = read(files[i * 7919 % len(files)])
            result.append(text)
            size += len(text.encode())
            if size >= wanted:
                break
        if size < wanted:
            raise SystemExit(f"{TEXTS / folder}: {size} bytes of text, expected {wanted:.0f}; "
                             "run tools/install_text_data")
    return result
