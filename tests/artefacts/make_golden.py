"""Makes a registry's data as a commit of the past writes it: ``python tests/artefacts/make_golden.py COMMIT``.

The registry, the base's manifest and the adapters come from the code of that commit, in a worktree of its own that is
removed afterwards. PostgreSQL must be installed. What comes of it is committed and never made again (README.md).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PROMPT = [3, 17, 40, 5, 29, 8, 33, 12]
NEW_TOKENS = 12
ADAPTERS: dict[str, dict[str, Any]] = {
    "plain": {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"]},
    "rslora": {"r": 8, "lora_alpha": 4, "target_modules": "all-linear", "use_rslora": True},
    "patterns": {
        "r": 2,
        "lora_alpha": 4,
        "target_modules": ["q_proj", "down_proj"],
        "rank_pattern": {"down_proj": 6},
        "alpha_pattern": {".*\\.1\\..*q_proj": 3},
    },
    "one-layer": {"r": 3, "lora_alpha": 6, "target_modules": ["o_proj", "up_proj"], "layers_to_transform": [1]},
}
"""By the name of the folder: what each is trained as."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("commit", help="such as a9214e2")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.inside is not None:
        make(asked.inside, asked.commit)
        return
    with tempfile.TemporaryDirectory() as parent:
        tree, made = Path(parent) / "tree", Path(parent) / "made"
        git = ["git", "-C", str(HERE), "worktree"]
        subprocess.run([*git, "add", "--detach", str(tree), asked.commit], check=True)
        try:
            command = [sys.executable, str(Path(__file__).resolve()), asked.commit, "--inside", str(made)]
            subprocess.run(command, cwd=tree, env=os.environ | {"PYTHONPATH": str(tree)}, check=True)
        finally:
            subprocess.run([*git, "remove", "--force", str(tree)], check=True)
        shutil.copytree(made, HERE / asked.commit)


def make(out: Path, commit: str) -> None:
    """With the code of ``commit``, which is the first on the path."""
    from adapters_registry.opening import open_registry
    from adapters_registry.settings import Limits
    from service.base import describe_base
    from tests.adapters_registry.servers import find_postgresql, postgresql_server

    base = out / "base"
    model = save_base(base)
    expected: dict[str, Any] = {"commit": commit, "prompt": PROMPT, "tokens": {"base": greedy(model)}}
    folders = out / "folders"
    for seed, (name, settings) in enumerate(ADAPTERS.items()):
        expected["tokens"][name] = save_adapter(folders / name, model, settings, seed)
    manifest = describe_base(base, "golden", model)
    data = out / "data"
    with open_registry(data, Limits(), lambda: None) as registry:
        expected["sqlite"] = fill(registry, manifest, folders)
    with postgresql_server() as server:
        name = server.make()
        with open_registry(data, Limits(), lambda: None, database_url=server.url(name)) as registry:
            expected["postgresql"] = fill(registry, manifest, folders)
        programs = find_postgresql()
        assert programs is not None
        dump = [str(programs / "pg_dump"), "--no-owner", "--no-privileges", "--dbname", server.url(name)]
        (out / "postgresql.sql").write_bytes(subprocess.run(dump, check=True, capture_output=True).stdout)
    for left in ("registry.lock", "registry.db-journal", "staging"):
        place = data / left
        shutil.rmtree(place) if place.is_dir() else place.unlink(missing_ok=True)
    (out / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


def save_base(path: Path) -> Any:
    """A random Llama in float32, with a tokenizer of a word for each token."""
    import torch
    from tokenizers import Tokenizer, models
    from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedTokenizerFast

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=48,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        initializer_range=0.15,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
        attn_implementation="eager",
    )
    model = AutoModelForCausalLM.from_config(config).eval().requires_grad_(False)
    model.save_pretrained(path)
    words = Tokenizer(models.WordLevel({f"w{number}": number for number in range(48)}, unk_token="w0"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="w0")
    tokenizer.chat_template = "{% for message in messages %}{{ message['content'] }} {% endfor %}"
    tokenizer.save_pretrained(path)
    return model


def save_adapter(path: Path, base: Any, settings: dict[str, Any], seed: int) -> list[int]:
    """A LoRA that moves the base far, as PEFT saves it; what it answers."""
    import copy

    import torch
    from peft import LoraConfig, get_peft_model

    model = get_peft_model(copy.deepcopy(base), LoraConfig(task_type="CAUSAL_LM", **settings))
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=draw) * 0.3)
    model.save_pretrained(path)
    (path / "README.md").unlink(missing_ok=True)
    return greedy(model.eval())


def greedy(model: Any) -> list[int]:
    """The likeliest tokens after ``PROMPT``, one by one, computed anew from the start each time."""
    import torch

    tokens = list(PROMPT)
    with torch.inference_mode():
        for _ in range(NEW_TOKENS):
            tokens.append(int(model(input_ids=torch.tensor([tokens]), use_cache=False).logits[0, -1].argmax()))
    return tokens[len(PROMPT) :]


def fill(registry: Any, base: Any, folders: Path) -> dict[str, Any]:
    """A life of two tenants; what it must still be known by."""
    from adapters_registry.access import Scope
    from adapters_registry.keys import Keys
    from adapters_registry.records import Quotas, TenantBounds

    registry.put_base(base)
    keys = Keys(registry.metadata)
    operator = keys.create(None, "operator", [Scope.ADMIN, Scope.SERVE])
    acme = keys.create("acme", "acme's", [Scope.INFER, Scope.ADAPTER_WRITE], Quotas(concurrent=4))
    revoked = keys.create("acme", "leaver", [Scope.INFER])
    keys.revoke(revoked.record.id)

    digests: dict[str, str] = {}
    for folder in ADAPTERS:
        lineage = {"metrics": {"accuracy": 0.5}} | ({"parent": digests["plain"]} if digests else {})
        digests[folder] = publish(registry, folders / folder, "acme", "support", lineage=lineage)
    publish(registry, folders / "plain", "globex", "tone")
    for version in (2, 3):
        move(registry, version, "production")
    registry.rollback("acme", "support", "production")
    move(registry, 3, "canary")
    registry.delete_version("acme", "support", 4)
    registry.evaluate("acme", "support", 3, "safety", True, {"refusals": 0.25})
    registry.protect_alias("acme", "support", "production", True, "safety")
    registry.share("acme", "support", "globex")
    registry.put_tenant("globex", TenantBounds(max_versions=7, keep_versions=3))
    aliases = {alias.alias: alias.version for alias in registry.adapter("acme", "support").aliases}
    return {
        "base": base.digest,
        "digests": digests,
        "aliases": aliases,
        "keys": {"operator": operator.key, "acme": acme.key, "revoked": revoked.key},
        "audit_entries": registry.verify_audit().entries,
        "audit_head": registry.verify_audit().head,
    }


def publish(registry: Any, folder: Path, tenant: str, name: str, **origin: Any) -> str:
    """The digest of the version."""
    from adapters_registry.blobs.intake import keep
    from adapters_registry.folder import CONFIG, WEIGHTS, describe
    from adapters_registry.registry import Origin

    files = [describe(folder / path) for path in (CONFIG, WEIGHTS)]
    for file in files:
        upload = registry.staging.begin(tenant, file.digest)
        upload.write((folder / file.path).read_bytes())
        keep(upload, registry.staging, registry.blobs, registry.uploaded)
    published = registry.publish(tenant, name, files, Origin(**origin))
    return str(published.record.digest)


def move(registry: Any, version: int, alias: str) -> None:
    generations = {alias.alias: alias.generation for alias in registry.adapter("acme", "support").aliases}
    registry.move_alias("acme", "support", alias, version, generations.get(alias, 0))


if __name__ == "__main__":
    main()
