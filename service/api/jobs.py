"""Turns a parsed request into a job: fixes the adapter version, tokenizes the prompt, checks every bound."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from service.access.keyring import Caller
from service.access.names import parse_model
from service.api.body import Parsed
from service.api.front import Front
from service.api.job import Job, Served
from service.api.prompt import COMPLETION_TOKENS, Prompts
from service.api.schemas import ChatRequest, CompletionRequest, Message, Prompt, Request
from service.api.template import Rendering
from service.api.text import Showing
from service.errors import DeadlineExceeded
from service.values import NO_ADAPTERS, AdapterSet, GenerateRequest, SamplingParams

_LEAST_TOP_P = 1e-6
"""Replaces 0, with the same effect (only the likeliest token), so that the engine needs no special case."""


@dataclass(frozen=True, slots=True)
class Origin:
    """The caller of a request, and its arrival."""

    caller: Caller
    request_id: str
    arrived: float
    """On the event loop's clock."""


class Jobs:
    """Turns requests into jobs with the tokenizer and the catalog, without a remote call."""

    def __init__(self, front: Front) -> None:
        self._front = front
        self._prompts = Prompts(front.tokenizer, front.backend.served)

    def serve(self, model: str, caller: Caller) -> Served:
        """The weights that ``model`` names now. Raises the catalog's errors."""
        base = self._front.backend.served
        fingerprint = f"fp_{_short(base.digest)}"
        name = parse_model(model, base.name)
        if name is None:
            return Served(caller.tenant, NO_ADAPTERS, base.name, base.digest, fingerprint)
        found = self._front.catalog.find(name, caller.principal)
        tenant = caller.principal.tenant or found.ref.tenant  # a key for all tenants acts for the tenant of the model
        worn = AdapterSet((found.ref,))
        return Served(tenant, worn, str(worn), worn.digest, f"{fingerprint}_{_short(worn.digest)}", found.size_bytes)

    async def chat(self, parsed: Parsed[ChatRequest], served: Served, origin: Origin) -> Job:
        body = parsed.request
        how = self._rendering(parsed)
        prompt = await self._prompts.chat(body.messages, origin.caller.account, how, self._kept(body, None))
        top = (body.top_logprobs or 0) if body.logprobs else None
        sampling = self._sampling(body, prompt, default=None, param="messages", logprobs=top)
        return self._job("chatcmpl", body, served, origin, (body.messages,), [(prompt, sampling)])

    async def completion(self, parsed: Parsed[CompletionRequest], served: Served, origin: Origin) -> Job:
        body = parsed.request
        keep = self._kept(body, COMPLETION_TOKENS)
        prompts = [await self._prompts.text(prompt, origin.caller.account, keep) for prompt in body.prompt]
        pairs = [
            (prompt, self._sampling(body, prompt, COMPLETION_TOKENS, "prompt", body.logprobs)) for prompt in prompts
        ]
        return self._job("cmpl", body, served, origin, body.prompt, pairs)

    def _kept(self, body: Request, default: int | None) -> int | None:
        return self._prompts.kept(
            body.truncate_prompt_tokens, default if body.tokens_asked is None else body.tokens_asked
        )

    def _rendering(self, parsed: Parsed[ChatRequest]) -> Rendering:
        body = parsed.request
        variables, others = self._prompts.template.choose(body.chat_template_kwargs or {})
        for name in others:
            parsed.ignored.hint(f"chat_template_kwargs.{name}")
        continues = bool(body.continue_final_message)
        begin = not continues if body.add_generation_prompt is None else body.add_generation_prompt
        return Rendering(begin, continues, variables)

    def _sampling(
        self, body: Request, prompt: tuple[int, ...], default: int | None, param: str, logprobs: int | None
    ) -> SamplingParams:
        return SamplingParams(
            max_tokens=self._prompts.tokens_left(prompt, body.tokens_asked, default, param),
            temperature=_or(body.temperature, 1.0),
            top_p=max(_or(body.top_p, 1.0), _LEAST_TOP_P),
            top_k=max(body.top_k or 0, 0),
            min_p=_or(body.min_p, 0.0),
            seed=body.seed,
            presence_penalty=_or(body.presence_penalty, 0.0),
            frequency_penalty=_or(body.frequency_penalty, 0.0),
            repetition_penalty=_or(body.repetition_penalty, 1.0),
            logit_bias=self._prompts.check_bias(body.logit_bias),
            logprobs=logprobs,
            ignore_eos=bool(body.ignore_eos),
            min_tokens=body.min_tokens or 0,
            stop_token_ids=self._prompts.check_stops(body.stop_token_ids),
        )

    def _job(
        self,
        prefix: str,
        body: Request,
        served: Served,
        origin: Origin,
        asked: tuple[tuple[Message, ...] | Prompt, ...],
        prompts: list[tuple[tuple[int, ...], SamplingParams]],
    ) -> Job:
        deadline = origin.arrived + self._front.settings.limits.deadline_s
        left_s = deadline - asyncio.get_running_loop().time()
        if left_s <= 0:
            raise DeadlineExceeded("the request's time ran out before it could start")
        requests = tuple(
            GenerateRequest(
                request_id=origin.request_id if len(prompts) == 1 else f"{origin.request_id}-{i}",
                tenant=served.tenant,
                prompt=prompt,
                sampling=sampling,
                deadline_s=left_s,
                n=body.n or 1,
                adapters=served.adapters,
            )
            for i, (prompt, sampling) in enumerate(prompts)
        )
        return Job(
            id=f"{prefix}-{origin.request_id}",
            created_s=int(time.time()),
            caller=origin.caller.tenant,
            asked=asked,
            base_digest=self._front.backend.served.digest,
            served=served,
            requests=requests,
            showing=Showing(
                body.stop,
                with_stop=bool(body.include_stop_str_in_output),
                special=body.skip_special_tokens is False,
            ),
            logprobs=prompts[0][1].logprobs is not None,
            include_usage=bool(body.stream_options and body.stream_options.include_usage),
            running_usage=bool(body.stream_options and body.stream_options.continuous_usage_stats),
            deadline=deadline,
        )


def _or(value: float | None, default: float) -> float:
    return default if value is None else value


def _short(digest: str) -> str:
    return digest.removeprefix("sha256:")[:12]
