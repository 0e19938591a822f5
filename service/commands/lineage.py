"""Which version was trained from which, as a tree: parents above their children."""

from __future__ import annotations

from collections import defaultdict

from rich.text import Text
from rich.tree import Tree

from adapters_registry.names import PRODUCTION
from adapters_registry.records import Lineage, LineageNode
from service.commands.output import moment, short


def tree(lineage: Lineage, shown: str) -> Tree:
    """Every version once, under its parent. The version of digest ``shown`` and those in production are marked."""
    nodes: dict[str, list[LineageNode]] = defaultdict(list)  # the same files may be a version of several adapters
    children: dict[str | None, list[str]] = defaultdict(list)
    for node in lineage.nodes:
        if node.digest not in nodes:
            children[node.parent].append(node.digest)
        nodes[node.digest].append(node)
    root, left = Tree("", hide_root=True), dict.fromkeys(nodes)

    def grow(branch: Tree, digest: str) -> None:
        if digest in left:  # a push may claim any parent, so cycles are possible
            del left[digest]
            below = branch.add(_label(nodes[digest], digest == shown))
            for child in children[digest]:
                grow(below, child)

    roots = [digest for digest, (node, *_) in nodes.items() if node.parent not in nodes]
    for digest in [*roots, *nodes]:
        grow(root, digest)
    return root


def _label(nodes: list[LineageNode], shown: bool) -> Text:
    first = nodes[0]
    aliases = sorted({alias for node in nodes for alias in node.aliases})
    names = ", ".join(f"{node.tenant}/{node.name}@{node.number}" for node in nodes)
    label = Text(names, style="bold" if PRODUCTION in aliases else "")
    label.append(f"  {short(first.digest)}  {moment(first.created_at)}", style="dim")
    label.append("".join(f"  [{alias}]" for alias in aliases), style="green")
    label.append("  deleted" if all(node.deleted for node in nodes) else "", style="red")
    label.append(f"  data {short(first.data_digest)}" if first.data_digest else "")
    label.append("".join(f"  {name}={value:g}" for name, value in first.metrics.items()))
    label.append("  <- this one" if shown else "")
    return label
