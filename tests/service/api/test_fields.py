"""The table of request fields has all of the models that it names, and what is honoured has its place in ours."""

from __future__ import annotations

from pathlib import Path

import pytest
from openai.types import completion_create_params
from openai.types.chat import ChatCompletionStreamOptionsParam
from openai.types.chat import completion_create_params as chat_create_params

from service.api import fields
from service.api.field import Use
from service.api.fields import CHAT, COMPLETION
from service.api.fields_page import page
from service.api.schemas import ChatRequest, CompletionRequest, Message, StreamOptions

# vLLM, main of November 2026 (0.32): ChatCompletionRequest and CompletionRequest.
VLLM = """
    add_generation_prompt add_special_tokens allowed_token_ids bad_words cache_salt chat_template
    chat_template_kwargs continue_final_message documents ec_transfer_params echo frequency_penalty ignore_eos
    include_reasoning include_stop_str_in_output kv_transfer_params length_penalty logit_bias logprob_token_ids
    logprobs max_completion_tokens max_tokens media_io_kwargs messages min_p min_tokens mm_processor_kwargs
    model n parallel_tool_calls presence_penalty priority prompt_logprobs reasoning_effort repetition_detection
    repetition_penalty request_id response_format return_mm_kwargs return_prompt_text return_token_ids
    return_token_offsets return_tokens_as_token_ids routed_experts_prompt_start seed session_id
    skip_special_tokens spaces_between_special_tokens stop stop_token_ids stream stream_interval stream_options
    structured_outputs temperature thinking_token_budget tool_choice tools top_k top_logprobs top_p
    truncate_prompt_tokens truncation_side use_beam_search user vllm_xargs watermarking guided_choice
    guided_decoding_backend guided_grammar guided_json guided_regex guided_whitespace_pattern structural_tag
    best_of logits_processors
"""
VLLM_COMPLETION = ["prompt", "prompt_embeds", "suffix", "add_special_tokens", "echo"]
# SGLang, main of November 2026: ChatCompletionRequest and CompletionRequest.
SGLANG = """
    bootstrap_host bootstrap_port bootstrap_room cache_salt chat_template_kwargs continue_final_message
    custom_logit_processor custom_params data_parallel_rank disagg_prefill_dp_rank ebnf extra_key
    frequency_penalty ignore_eos images_config input_ids logit_bias logprobs lora_path max_completion_tokens
    max_dynamic_patch max_tokens messages min_dynamic_patch min_p min_tokens model n ngram_corpus_id
    no_stop_trim parallel_tool_calls presence_penalty priority reasoning reasoning_effort regex
    repetition_penalty response_format return_cached_tokens_details return_hidden_states return_meta_info
    return_prompt_token_ids return_routed_experts return_token_ids rid routed_dp_rank routed_experts_start_len
    seed separate_reasoning session_id session_params skip_special_tokens stop stop_regex stop_token_ids stream
    stream_options stream_reasoning task temperature tool_choice tools top_k top_logprobs top_p
    use_audio_in_video user
"""
SGLANG_COMPLETION = ["prompt", "best_of", "echo", "suffix", "json_schema", "custom_labels"]
# llama.cpp, tools/server of November 2026: its README's lists, and what params_from_json_cmpl reads.
LLAMA_CPP = """
    adaptive_decay adaptive_target add_generation_prompt backend_sampling cache_prompt chat_format chat_parser
    chat_template_kwargs dry_allowed_length dry_base dry_multiplier dry_penalty_last_n dry_sequence_breakers
    dynatemp_exponent dynatemp_range frequency_penalty grammar grammar_lazy grammar_triggers id_slot ignore_eos
    json_schema logit_bias logprobs lora messages max_completion_tokens max_tokens min_keep min_p mirostat
    mirostat_eta
    mirostat_tau model n n_cache_reuse n_cmpl n_discard n_indent n_keep n_predict n_probs parallel_tool_calls
    parse_tool_calls post_sampling_probs presence_penalty preserved_tokens reasoning_budget_arm_immediately
    reasoning_budget_end_tag reasoning_budget_message reasoning_budget_start_tag reasoning_budget_tokens
    reasoning_control reasoning_effort reasoning_format repeat_last_n repeat_penalty response_fields
    response_format return_progress return_tokens samplers seed speculative.n_max speculative.n_min
    speculative.ngram_m_hits speculative.ngram_size_m speculative.ngram_size_n speculative.p_min
    speculative.type sse_ping_interval stop stream stream_options t_max_predict_ms temperature
    thinking_forced_open timings_per_token tool_choice tools top_k top_n_sigma top_p typical_p verbose
    xtc_probability xtc_threshold
"""


def of(letter: str, table: object) -> set[str]:
    assert isinstance(table, dict)
    return {name for name, field in table.items() if letter in field.known_to}


def test_every_field_of_openais_models_is_in_the_table() -> None:
    chat = {*chat_create_params.CompletionCreateParamsBase.__annotations__, "stream"}
    completion = {*completion_create_params.CompletionCreateParamsBase.__annotations__, "stream"}
    assert chat <= of("O", CHAT)
    assert completion <= of("O", COMPLETION)
    assert of("O", CHAT) | of("O", COMPLETION) == chat | completion
    assert set(ChatCompletionStreamOptionsParam.__annotations__) == of("O", fields.STREAM_OPTIONS)


@pytest.mark.parametrize(
    ("letter", "chat", "completion"),
    [("V", VLLM, VLLM_COMPLETION), ("S", SGLANG, SGLANG_COMPLETION), ("L", LLAMA_CPP, ["prompt"])],
    ids=["vllm", "sglang", "llama.cpp"],
)
def test_every_field_of_the_other_models_is_in_the_table(letter: str, chat: str, completion: list[str]) -> None:
    assert set(chat.split()) <= of(letter, CHAT)
    assert set(completion) <= of(letter, COMPLETION)
    assert of(letter, CHAT) | of(letter, COMPLETION) == {*chat.split(), *completion}


def test_what_is_honoured_has_a_place_in_the_wire_models_and_the_other_way_round() -> None:
    kept = (Use.HONOURED, Use.LABEL)
    for table, model in (
        (CHAT, ChatRequest),
        (COMPLETION, CompletionRequest),
        (fields.STREAM_OPTIONS, StreamOptions),
        (fields.MESSAGE, Message),
    ):
        assert {name for name, field in table.items() if field.use in kept} == set(model.model_fields)


def test_what_asks_for_nothing_is_told_by_type_too() -> None:
    assert CHAT["best_of"].asks_for_nothing(1)
    assert not CHAT["best_of"].asks_for_nothing(True)
    assert not CHAT["echo"].asks_for_nothing(0)
    assert CHAT["response_format"].asks_for_nothing({"type": "text", "json_schema": None})
    assert all(field.asks_for_nothing(None) for field in CHAT.values())


def test_the_page_is_made_from_the_table() -> None:
    made = "python -m service.api.fields_page > docs/fields.md"
    assert Path("docs/fields.md").read_text() == page(), made
