"""The one table of request fields: what becomes of each that OpenAI, vLLM, SGLang or llama.cpp knows.

``docs/fields.md`` is made of it (``python -m service.api.fields_page``); what a field means once it is honoured is in
``schemas.py``.

It is one file because the tables build on each other: both endpoints have the rows of ``EITHER``.
"""

from __future__ import annotations

from collections.abc import Mapping

from service.api.field import Field, Use


def _honoured(known_to: str) -> Field:
    return Field(known_to, Use.HONOURED)


def _label(known_to: str) -> Field:
    return Field(known_to, Use.LABEL)


def _hint(known_to: str, *neutral: object) -> Field:
    return Field(known_to, Use.HINT, neutral)


def _refused(known_to: str, *neutral: object, instead: str = "") -> Field:
    return Field(known_to, Use.REFUSED, neutral, instead)


_STOP = "use stop or stop_token_ids"

EITHER: dict[str, Field] = {
    # How long, and where it ends.
    "model": _honoured("OVSL"),
    "max_tokens": _honoured("OVSL"),
    "max_completion_tokens": _honoured("OVSL"),
    "min_tokens": _honoured("VS"),
    "stop": _honoured("OVSL"),
    "stop_token_ids": _honoured("VS"),
    "include_stop_str_in_output": _honoured("V"),
    "ignore_eos": _honoured("VSL"),
    "n": _honoured("OVSL"),
    "best_of": _refused("OVS", 1, instead="use n"),
    "n_cmpl": _refused("L", 1, instead="use n"),
    "n_predict": _refused("L", -1, instead="use max_tokens"),
    "n_indent": _refused("L", 0),
    "no_stop_trim": _refused("S", False, instead="use include_stop_str_in_output"),
    "repetition_detection": _refused("V"),
    "reasoning_budget_tokens": _refused("L", -1, instead="use max_tokens"),
    "stop_regex": _refused("S", [], instead=_STOP),
    "t_max_predict_ms": _refused("L", 0, instead="use max_tokens"),
    "thinking_token_budget": _refused("V", -1, instead="use max_tokens"),
    # How tokens are drawn.
    "temperature": _honoured("OVSL"),
    "top_p": _honoured("OVSL"),
    "top_k": _honoured("VSL"),
    "min_p": _honoured("VSL"),
    "seed": _honoured("OVSL"),
    "presence_penalty": _honoured("OVSL"),
    "frequency_penalty": _honoured("OVSL"),
    "repetition_penalty": _honoured("VS"),
    "logit_bias": _honoured("OVSL"),
    "adaptive_decay": _hint("L"),
    "adaptive_target": _refused("L", -1),
    "allowed_token_ids": _refused("V", instead="use logit_bias"),
    "backend_sampling": _hint("L", False),
    "bad_words": _refused("V", [], instead="use logit_bias"),
    "custom_logit_processor": _refused("S"),
    "custom_params": _refused("S", {}),
    "dry_allowed_length": _hint("L"),
    "dry_base": _hint("L"),
    "dry_multiplier": _refused("L", 0),
    "dry_penalty_last_n": _hint("L"),
    "dry_sequence_breakers": _hint("L"),
    "dynatemp_exponent": _hint("L"),
    "dynatemp_range": _refused("L", 0),
    "length_penalty": _hint("V", 1),
    "logits_processors": _refused("V", []),
    "min_keep": _refused("L", 0),
    "mirostat": _refused("L", 0),
    "mirostat_eta": _hint("L"),
    "mirostat_tau": _hint("L"),
    "repeat_last_n": _refused("L", -1),
    "repeat_penalty": _refused("L", 1, instead="use repetition_penalty"),
    "samplers": _refused("L"),
    "top_n_sigma": _refused("L", -1),
    "typical_p": _refused("L", 1),
    "use_beam_search": _refused("V", False),
    "vllm_xargs": _refused("V", {}),
    "watermarking": _refused("V", False),
    "xtc_probability": _refused("L", 0),
    "xtc_threshold": _hint("L"),
    # What an answer must look like.
    "chat_format": _refused("L"),
    "chat_parser": _refused("L"),
    "ebnf": _refused("S"),
    "grammar": _refused("L", ""),
    "grammar_lazy": _hint("L", False),
    "grammar_triggers": _hint("L", []),
    "guided_choice": _refused("V"),
    "guided_decoding_backend": _hint("V"),
    "guided_grammar": _refused("V"),
    "guided_json": _refused("V"),
    "guided_regex": _refused("V"),
    "guided_whitespace_pattern": _hint("V"),
    "json_schema": _refused("SL"),
    "preserved_tokens": _hint("L", []),
    "regex": _refused("S"),
    "response_format": _refused("OVSL", {"type": "text"}),
    "structural_tag": _refused("V"),
    "structured_outputs": _refused("V"),
    # How the prompt is made.
    "truncate_prompt_tokens": _honoured("V"),
    "suffix": _refused("OVS", ""),
    "truncation_side": _refused("V", "left", instead="the last tokens are kept"),
    "n_discard": _hint("L"),
    "n_keep": _hint("L"),
    # What the answer says besides the text.
    "stream": _honoured("OVSL"),
    "stream_options": _honoured("OVSL"),
    "logprobs": _honoured("OVSL"),
    "skip_special_tokens": _honoured("VS"),
    "logprob_token_ids": _refused("V", instead="use top_logprobs, or logprobs of completions"),
    "n_probs": _refused("L", 0, instead="use top_logprobs, or logprobs of completions"),
    "post_sampling_probs": _refused("L", False),
    "prompt_logprobs": _refused("V"),
    "response_fields": _refused("L", []),
    "return_cached_tokens_details": _hint("S", False),
    "return_hidden_states": _refused("S", False),
    "return_meta_info": _hint("S", False),
    "return_mm_kwargs": _hint("V", True),
    "return_progress": _hint("L", False),
    "return_prompt_token_ids": _refused("S", False),
    "return_routed_experts": _refused("S", False),
    "return_token_ids": _refused("VS", False),
    "return_token_offsets": _hint("V", False),
    "return_tokens": _refused("L", False),
    "return_tokens_as_token_ids": _refused("V", False),
    "routed_experts_prompt_start": _hint("V", 0),
    "routed_experts_start_len": _hint("S", 0),
    "spaces_between_special_tokens": _hint("V", True, False),
    "sse_ping_interval": _hint("L"),
    "stream_interval": _hint("V"),
    "timings_per_token": _hint("L", False),
    "verbose": _hint("L", False),
    # Which weights: the model's name says it.
    "lora": _refused("L", [], instead="name the adapter in model"),
    "lora_path": _refused("S", instead="name the adapter in model"),
    # Whose it is, and what is kept of it.
    "metadata": _label("O"),
    "prompt_cache_key": _label("O"),
    "safety_identifier": _label("O"),
    "store": _label("O"),
    "user": _label("OVS"),
    "custom_labels": _hint("S"),
    "extra_key": _hint("S"),
    "request_id": _hint("V"),
    "rid": _hint("S"),
    "session_id": _hint("VS"),
    "session_params": _hint("S"),
    # How it is computed.
    "bootstrap_host": _hint("S"),
    "bootstrap_port": _hint("S"),
    "bootstrap_room": _hint("S"),
    "cache_prompt": _hint("L", True, False),
    "cache_salt": _hint("VS"),
    "data_parallel_rank": _hint("S"),
    "disagg_prefill_dp_rank": _hint("S"),
    "ec_transfer_params": _hint("V"),
    "id_slot": _hint("L", -1),
    "kv_transfer_params": _hint("V"),
    "n_cache_reuse": _hint("L"),
    "ngram_corpus_id": _hint("S"),
    "prediction": _hint("O"),
    "priority": _hint("VS", 0),
    "prompt_cache_options": _hint("O"),
    "prompt_cache_retention": _hint("O"),
    "routed_dp_rank": _hint("S"),
    "service_tier": _hint("O", "auto", "default"),
    "speculative.n_max": _hint("L"),
    "speculative.n_min": _hint("L"),
    "speculative.ngram_m_hits": _hint("L"),
    "speculative.ngram_size_m": _hint("L"),
    "speculative.ngram_size_n": _hint("L"),
    "speculative.p_min": _hint("L"),
    "speculative.type": _hint("L"),
    # Reasoning: a base that reasons does so in its text.
    "include_reasoning": _hint("V", True),
    "reasoning": _hint("S"),
    "reasoning_budget_arm_immediately": _hint("L", False),
    "reasoning_budget_end_tag": _hint("L"),
    "reasoning_budget_message": _hint("L"),
    "reasoning_budget_start_tag": _hint("L"),
    "reasoning_control": _hint("L", False),
    "reasoning_effort": _hint("OVSL", "none"),
    "reasoning_format": _hint("L", "none", "auto"),
    "separate_reasoning": _hint("S", True),
    "stream_reasoning": _hint("S", True),
    "thinking_forced_open": _hint("L", False),
    "verbosity": _hint("O", "medium"),
    # Tools and other media.
    "audio": _refused("O"),
    "function_call": _refused("O", "none", "auto"),
    "functions": _refused("O", []),
    "images_config": _hint("S"),
    "max_dynamic_patch": _hint("S"),
    "media_io_kwargs": _hint("V"),
    "min_dynamic_patch": _hint("S"),
    "mm_processor_kwargs": _hint("V"),
    "modalities": _refused("O", ["text"]),
    "moderation": _refused("O"),
    "parallel_tool_calls": _hint("OVSL", True, False),
    "parse_tool_calls": _hint("L", True, False),
    "prompt_embeds": _refused("V"),
    "tool_choice": _refused("OVSL", "none", "auto"),
    "tools": _refused("OVSL", []),
    "use_audio_in_video": _hint("S", False),
    "web_search_options": _refused("O"),
}
"""Of a request, chat or not. A sender's field of the other endpoint is known too where it can mean the same."""

CHAT: Mapping[str, Field] = EITHER | {
    "messages": _honoured("OVSL"),
    "top_logprobs": _honoured("OVS"),
    "add_generation_prompt": _honoured("VL"),
    "chat_template_kwargs": _honoured("VSL"),
    "continue_final_message": _honoured("VS"),
    "add_special_tokens": _refused("V", False),
    "chat_template": _refused("V", instead="the base's own is used"),
    "documents": _refused("V", []),
    "echo": _refused("V", False),
    "input_ids": _refused("S", instead="use /v1/completions"),
    "prompt": _refused("", instead="use messages, or /v1/completions"),
    "return_prompt_text": _refused("V", False),
    "task": _refused("S"),
}
"""``POST /v1/chat/completions``."""

COMPLETION: Mapping[str, Field] = EITHER | {
    "prompt": _honoured("OVSL"),
    "add_special_tokens": _refused("V", True),
    "echo": _refused("OVS", False),
    "messages": _refused("", instead="use prompt, or /v1/chat/completions"),
}
"""``POST /v1/completions``."""

STREAM_OPTIONS: Mapping[str, Field] = {
    "include_usage": _honoured("OVSL"),
    "continuous_usage_stats": _honoured("VS"),
    "include_obfuscation": _refused("O", False),
}

MESSAGE: Mapping[str, Field] = {
    "role": _honoured("OVSL"),
    "content": _honoured("OVSL"),
    "name": _honoured("OVS"),
    "annotations": _hint("O", []),
    "audio": _refused("O"),
    "cache_control": _hint(""),
    "function_call": _refused("O"),
    "id": _hint(""),
    "partial": _refused("", False, instead="use continue_final_message"),
    "prefix": _refused("", False, instead="use continue_final_message"),
    "reasoning": _hint("V"),
    "reasoning_content": _hint("VSL"),
    "refusal": _refused("O", ""),
    "tool_call_id": _refused("OVSL"),
    "tool_calls": _refused("OVSL", []),
    "tools": _refused("S", []),
}
"""Of a message: clients send an earlier answer back with all the fields it came with."""

PART: Mapping[str, Field] = {
    "type": _honoured("OVSL"),
    "text": _honoured("OVSL"),
    "annotations": _hint("", []),
    "cache_control": _hint(""),
    "id": _hint(""),
}
"""Of a text part of a message's content."""
