"""Writes the chart's README from its values: ``python charts/readme.py``. A test compares it with the committed one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).parent / "green-llm"
HEAD = """\
# The Helm chart of Green-LLM

Written by `just chart` from `values.yaml`, where each value says what it is.

```text
helm upgrade --install green-llm charts/green-llm --namespace green-llm-system --create-namespace
```

It installs the operator with the right to observe: it plans, explains and exports, and writes no route. What it prints
at the end is a policy to begin with. `--set rbac.enforce=true` lets it write what a policy in `Active` mode decides.

- **One per cluster.** A second installation is refused, with the name of the first.
- **Custom resources** are not part of the chart: an upgrade would reset what you edited. The CustomResourceDefinitions are;
  they are upgraded with it, and kept when it is uninstalled (`crds.keep`). A release of another name takes them over with
  `helm install --take-ownership`. With a tool that applies CRDs by itself set `crds.enabled=false` and apply `crds/`.
- **Uninstalling** first restores the original weights and removes our finalizers (a hook that runs `green-llm release --all`,
  within a minute); a custom resource is deleted only with its definition (`crds.keep=false`). `helm uninstall --no-hooks`
  leaves weights and finalizers as they are. An installation made at once writes after two and a half minutes.
- **Without rights on the cluster**: an administrator applies the definitions and roles once, and you install the rest:

  ```text
  helm template green-llm charts/green-llm -n llm -s templates/crds.yaml -s templates/rbac.yaml --set rbac.enforce=true \\
    | kubectl apply --server-side -f -
  helm install green-llm charts/green-llm -n llm --set crds.enabled=false,rbac.create=false
  ```

- A value that does not exist, or of the wrong kind, is refused by name before anything changes (`values.schema.json`).

## Values

| value | default | meaning |
|---|---|---|
"""


def rows(node: yaml.MappingNode, lines: list[str], path: str = "") -> Iterator[tuple[str, str, str]]:
    """Path, default and meaning of every value that has a ``# --`` line above it.

    Raises:
        ValueError: a value says nothing about itself.
    """
    for key, value in node.value:
        name = f"{path}{key.value}"
        above = lines[key.start_mark.line - 1].strip() if key.start_mark.line else ""
        if above.startswith("# -- "):
            yield name, json.dumps(yaml.safe_load(yaml.serialize(value))), above.removeprefix("# -- ")
        elif isinstance(value, yaml.MappingNode) and value.value:
            yield from rows(value, lines, f"{name}.")
        else:
            raise ValueError(f"charts/green-llm/values.yaml: {name}: a line '# -- meaning' must stand above it")


def readme() -> str:
    """The whole text."""
    text = (CHART / "values.yaml").read_text(encoding="utf-8")
    node: Any = yaml.compose(text)
    table = (f"| `{name}` | `{default}` | {meaning} |\n" for name, default, meaning in rows(node, text.splitlines()))
    return HEAD + "".join(table)


if __name__ == "__main__":
    (CHART / "README.md").write_text(readme(), encoding="utf-8")
