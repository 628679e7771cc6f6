"""``python -m green_llm`` is ``green-llm``."""

from green_llm.cli import main

main()
