--
-- PostgreSQL database dump
--

\restrict WKNv9wdPgDdaAXP1Q6bUF6l6IXl8kpl0iFlExfjTDyKYfWsAkQ7vPoRVyoyLqWP

-- Dumped from database version 15.18 (Debian 15.18-0+deb12u1)
-- Dumped by pg_dump version 15.18 (Debian 15.18-0+deb12u1)

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

SET default_tablespace = '';

SET default_table_access_method = heap;

--
-- Name: adapters; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.adapters (
    id integer NOT NULL,
    tenant_id integer NOT NULL,
    name character varying(63) NOT NULL COLLATE pg_catalog."C",
    next_number integer NOT NULL,
    created_at timestamp with time zone NOT NULL,
    deleted_at timestamp with time zone
);


--
-- Name: adapters_id_seq; Type: SEQUENCE; Schema: public; Owner: -
--

CREATE SEQUENCE public.adapters_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;


--
-- Name: adapters_id_seq; Type: SEQUENCE OWNED BY; Schema: public; Owner: -
--

ALTER SEQUENCE public.adapters_id_seq OWNED BY public.adapters.id;


--
-- Name: alembic_version; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.alembic_version (
    version_num character varying(32) NOT NULL
);


--
-- Name: aliases; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.aliases (
    adapter_id integer NOT NULL,
    alias character varying(63) NOT NULL COLLATE pg_catalog."C",
    version_id integer,
    generation bigint NOT NULL,
    protected boolean DEFAULT false NOT NULL,
    requires character varying(63)
);


--
-- Name: audit; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.audit (
    seq bigint NOT NULL,
    at timestamp with time zone NOT NULL,
    actor character varying(128) NOT NULL,
    action character varying(32) NOT NULL,
    adapter_id integer,
    alias character varying(63),
    version_id integer,
    subject character varying(512) NOT NULL,
    detail text,
    prev character varying(71) NOT NULL,
    digest character varying(71) NOT NULL
);


--
-- Name: bases; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.bases (
    digest character varying(71) NOT NULL,
    name character varying(512) NOT NULL,
    manifest text NOT NULL,
    announced_seq bigint NOT NULL
);


--
-- Name: blobs; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.blobs (
    digest character varying(71) NOT NULL,
    size bigint NOT NULL,
    created_at timestamp with time zone NOT NULL,
    condemned_at timestamp with time zone
);


--
-- Name: evaluations; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.evaluations (
    version_id integer NOT NULL,
    name character varying(63) NOT NULL COLLATE pg_catalog."C",
    passed boolean NOT NULL,
    metrics text NOT NULL,
    at timestamp with time zone NOT NULL,
    actor character varying(128) NOT NULL
);


--
-- Name: feed; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.feed (
    id integer NOT NULL,
    first_seq bigint NOT NULL,
    seq bigint NOT NULL,
    head character varying(71) NOT NULL
);


--
-- Name: keys; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.keys (
    id character varying(12) NOT NULL,
    tenant_id integer,
    name character varying(128) NOT NULL,
    scopes text NOT NULL,
    quotas text NOT NULL,
    secret_hash character varying(64) NOT NULL,
    created_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone,
    revoked_at timestamp with time zone
);


--
-- Name: leases; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.leases (
    tenant_id integer NOT NULL,
    blob character varying(71) NOT NULL,
    expires_at timestamp with time zone NOT NULL
);


--
-- Name: shares; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.shares (
    adapter_id integer NOT NULL,
    grantee character varying(63) NOT NULL COLLATE pg_catalog."C"
);


--
-- Name: tenants; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.tenants (
    id integer NOT NULL,
    name character varying(63) NOT NULL COLLATE pg_catalog."C",
    created_at timestamp with time zone NOT NULL,
    max_bytes bigint,
    max_versions integer,
    keep_versions integer,
    keep_days integer
);


--
-- Name: tenants_id_seq; Type: SEQUENCE; Schema: public; Owner: -
--

CREATE SEQUENCE public.tenants_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;


--
-- Name: tenants_id_seq; Type: SEQUENCE OWNED BY; Schema: public; Owner: -
--

ALTER SEQUENCE public.tenants_id_seq OWNED BY public.tenants.id;


--
-- Name: version_files; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.version_files (
    version_id integer NOT NULL,
    path character varying(128) NOT NULL COLLATE pg_catalog."C",
    blob character varying(71) NOT NULL
);


--
-- Name: versions; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.versions (
    id integer NOT NULL,
    adapter_id integer NOT NULL,
    number integer NOT NULL,
    digest character varying(71) NOT NULL,
    base character varying(71) NOT NULL,
    kind character varying(63) NOT NULL,
    rank integer NOT NULL,
    size_bytes bigint NOT NULL,
    manifest text NOT NULL,
    lineage text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    deleted_at timestamp with time zone,
    norms text,
    parent character varying(71)
);


--
-- Name: versions_id_seq; Type: SEQUENCE; Schema: public; Owner: -
--

CREATE SEQUENCE public.versions_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;


--
-- Name: versions_id_seq; Type: SEQUENCE OWNED BY; Schema: public; Owner: -
--

ALTER SEQUENCE public.versions_id_seq OWNED BY public.versions.id;


--
-- Name: adapters id; Type: DEFAULT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.adapters ALTER COLUMN id SET DEFAULT nextval('public.adapters_id_seq'::regclass);


--
-- Name: tenants id; Type: DEFAULT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.tenants ALTER COLUMN id SET DEFAULT nextval('public.tenants_id_seq'::regclass);


--
-- Name: versions id; Type: DEFAULT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.versions ALTER COLUMN id SET DEFAULT nextval('public.versions_id_seq'::regclass);


--
-- Data for Name: adapters; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.adapters (id, tenant_id, name, next_number, created_at, deleted_at) FROM stdin;
1	1	support	5	2026-11-27 19:40:31.548152-05	\N
2	2	tone	2	2026-11-27 19:40:40.391468-05	\N
\.


--
-- Data for Name: alembic_version; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.alembic_version (version_num) FROM stdin;
0003
\.


--
-- Data for Name: aliases; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.aliases (adapter_id, alias, version_id, generation, protected, requires) FROM stdin;
2	production	5	1	f	\N
1	canary	3	1	f	\N
1	production	2	4	t	safety
\.


--
-- Data for Name: audit; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.audit (seq, at, actor, action, adapter_id, alias, version_id, subject, detail, prev, digest) FROM stdin;
1795826429396	2026-11-27 19:40:29.427506-05	anonymous	base.put	\N	\N	\N	sha256:77c9fff94068c235183c4dd516d6d3e2b5339b0cb260ff2c4f1058e0413bee03	{"name":"golden"}	sha256:0000000000000000000000000000000000000000000000000000000000000000	sha256:67611f3ba5d79aef1f7bbb2311835eb69d2ebe46bdbb7119121c611a10e375f5
1795826429397	2026-11-27 19:40:29.475749-05	anonymous	key.create	\N	\N	\N	io34i62fosk6	{"name":"operator","scopes":["admin","serve"],"tenant":null}	sha256:67611f3ba5d79aef1f7bbb2311835eb69d2ebe46bdbb7119121c611a10e375f5	sha256:f056a39ad0d8b84dbbba6c1f9dc09fde211ed783a0b0e936b6749b5382b7dfa4
1795826429398	2026-11-27 19:40:29.524541-05	anonymous	key.create	\N	\N	\N	un3cklyd4tym	{"name":"acme's","scopes":["adapter:write","infer"],"tenant":"acme"}	sha256:f056a39ad0d8b84dbbba6c1f9dc09fde211ed783a0b0e936b6749b5382b7dfa4	sha256:2bb679e1b99aed45199fac7208976195c193e1ff31092f1d1178855822f29f04
1795826429399	2026-11-27 19:40:29.550852-05	anonymous	key.create	\N	\N	\N	pe7iomvslrxm	{"name":"leaver","scopes":["infer"],"tenant":"acme"}	sha256:2bb679e1b99aed45199fac7208976195c193e1ff31092f1d1178855822f29f04	sha256:d1d558c8b601d87b0999a23e45714e06b4e97ab81d1808a2f5b8e079618d1861
1795826429400	2026-11-27 19:40:29.582103-05	anonymous	key.revoke	\N	\N	\N	pe7iomvslrxm	\N	sha256:d1d558c8b601d87b0999a23e45714e06b4e97ab81d1808a2f5b8e079618d1861	sha256:7e866c006e4d770f50e1f24a42a0cd12de776fc6dc145506ec92f8b715d25f5b
1795826429401	2026-11-27 19:40:31.565118-05	anonymous	version.publish	1	\N	1	acme/support@1	{"digest":"sha256:392b1d5fd2fc1daf1ea398629ebe82819728dc0eb3d0dc6b1b4e59f28572d807"}	sha256:7e866c006e4d770f50e1f24a42a0cd12de776fc6dc145506ec92f8b715d25f5b	sha256:8634684edae75b6b64d9978d291b79815592fdedaaa0eb946be8a4da3161730e
1795826429402	2026-11-27 19:40:31.57791-05	anonymous	alias.set	1	production	1	acme/support	{"generation":1,"version":1}	sha256:8634684edae75b6b64d9978d291b79815592fdedaaa0eb946be8a4da3161730e	sha256:3bcba337496b467f2f1854ad4982d7a4e435568bbd54f1e3456cf12efa2b5f49
1795826429403	2026-11-27 19:40:33.815627-05	anonymous	version.publish	1	\N	2	acme/support@2	{"digest":"sha256:a71862a8c7fb8069662beeb51edf777fcfc14d0f45c86942a1de415590ed42f8"}	sha256:3bcba337496b467f2f1854ad4982d7a4e435568bbd54f1e3456cf12efa2b5f49	sha256:b0593f788786dc830d2ecd8a86aa831338a314e444bc81afae20b60cd3f0b1d7
1795826429404	2026-11-27 19:40:36.381947-05	anonymous	version.publish	1	\N	3	acme/support@3	{"digest":"sha256:f93de8f987853b50439950982e326b86b36f09b986640dac6c4ba61fbc3d448e"}	sha256:b0593f788786dc830d2ecd8a86aa831338a314e444bc81afae20b60cd3f0b1d7	sha256:54c5d12fc0584246aa5f94dbcb0ab3b9a82be0088ff9d4240bca48a392d5e7f9
1795826429405	2026-11-27 19:40:38.410008-05	anonymous	version.publish	1	\N	4	acme/support@4	{"digest":"sha256:4e13b1703d2c34d02cff6640751ca196066249e1ffc8f77e26b8be10d32e66d1"}	sha256:54c5d12fc0584246aa5f94dbcb0ab3b9a82be0088ff9d4240bca48a392d5e7f9	sha256:bf0176e27509647ee08f961b00d25cd9a9fb0422b744f6e7443fdbea55ed3d49
1795826429406	2026-11-27 19:40:40.429733-05	anonymous	version.publish	2	\N	5	globex/tone@1	{"digest":"sha256:392b1d5fd2fc1daf1ea398629ebe82819728dc0eb3d0dc6b1b4e59f28572d807"}	sha256:bf0176e27509647ee08f961b00d25cd9a9fb0422b744f6e7443fdbea55ed3d49	sha256:9b479aea1c85e310cd6c8d02e642d4d0044e019b141d9ac05bfb02e1ff7b48f7
1795826429407	2026-11-27 19:40:40.454249-05	anonymous	alias.set	2	production	5	globex/tone	{"generation":1,"version":1}	sha256:9b479aea1c85e310cd6c8d02e642d4d0044e019b141d9ac05bfb02e1ff7b48f7	sha256:14b101cf52b5cf7c9de7f3329f2ec03690f5647524ea4dbf4533b2131707ca96
1795826429408	2026-11-27 19:40:40.548351-05	anonymous	alias.set	1	production	2	acme/support	{"generation":2,"version":2}	sha256:14b101cf52b5cf7c9de7f3329f2ec03690f5647524ea4dbf4533b2131707ca96	sha256:41e607c0689ee76677270a8ba12f84e8f5daf85221ba127e64f581b4193fe42a
1795826429409	2026-11-27 19:40:40.661758-05	anonymous	alias.set	1	production	3	acme/support	{"generation":3,"version":3}	sha256:41e607c0689ee76677270a8ba12f84e8f5daf85221ba127e64f581b4193fe42a	sha256:7e7f6192679b1a947ce28babf78af73fc2bc1773f16fa74fe136de1336a04fc7
1795826429410	2026-11-27 19:40:40.74269-05	anonymous	alias.rollback	1	production	2	acme/support	{"generation":4,"version":2}	sha256:7e7f6192679b1a947ce28babf78af73fc2bc1773f16fa74fe136de1336a04fc7	sha256:ae5a2672fc9bfdaab4d0619caffb870f9c8def2288cbdc2c23bf0c54c5ac020b
1795826429411	2026-11-27 19:40:40.819586-05	anonymous	alias.set	1	canary	3	acme/support	{"generation":1,"version":3}	sha256:ae5a2672fc9bfdaab4d0619caffb870f9c8def2288cbdc2c23bf0c54c5ac020b	sha256:88883a1abb91e2624db6dedd6b66f9b2a079d0cdec2687de22296c91bfd3ecbf
1795826429412	2026-11-27 19:40:40.875554-05	anonymous	version.delete	1	\N	4	acme/support@4	{"digest":"sha256:4e13b1703d2c34d02cff6640751ca196066249e1ffc8f77e26b8be10d32e66d1"}	sha256:88883a1abb91e2624db6dedd6b66f9b2a079d0cdec2687de22296c91bfd3ecbf	sha256:01f89b753dac346c6d541251ca4e57fd6c67bca69def62d7985cd336a74a3ba6
1795826429413	2026-11-27 19:40:40.911697-05	anonymous	version.evaluate	1	\N	3	acme/support@3	{"digest":"sha256:f93de8f987853b50439950982e326b86b36f09b986640dac6c4ba61fbc3d448e","evaluation":"safety","passed":true}	sha256:01f89b753dac346c6d541251ca4e57fd6c67bca69def62d7985cd336a74a3ba6	sha256:893070753bcb95e3747da04fc9f4b2a1066aeb80f341a80817399d42d6ade845
1795826429414	2026-11-27 19:40:40.931687-05	anonymous	alias.protect	1	production	2	acme/support	{"protected":true,"requires":"safety"}	sha256:893070753bcb95e3747da04fc9f4b2a1066aeb80f341a80817399d42d6ade845	sha256:280a3a26c2036fb28b61da68799ebda1930bd245ed363b390104d4c159b8db8c
1795826429415	2026-11-27 19:40:41.009229-05	anonymous	adapter.share	1	\N	\N	acme/support	{"grantee":"globex"}	sha256:280a3a26c2036fb28b61da68799ebda1930bd245ed363b390104d4c159b8db8c	sha256:8906fded23eb2777ec222f042f5cd200187fdd4c53f1745494e6ca02886d9670
1795826429416	2026-11-27 19:40:41.037941-05	anonymous	tenant.put	\N	\N	\N	globex	{"keep_days":null,"keep_versions":3,"max_bytes":null,"max_versions":7}	sha256:8906fded23eb2777ec222f042f5cd200187fdd4c53f1745494e6ca02886d9670	sha256:dd4f61e4da9116e1f02b780ba9b780590139d28cb9342ddee3906a03f7a5ee19
\.


--
-- Data for Name: bases; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.bases (digest, name, manifest, announced_seq) FROM stdin;
sha256:77c9fff94068c235183c4dd516d6d3e2b5339b0cb260ff2c4f1058e0413bee03	golden	{"digest":"sha256:77c9fff94068c235183c4dd516d6d3e2b5339b0cb260ff2c4f1058e0413bee03","name":"golden","architecture":"LlamaForCausalLM","dtype":"float32","vocab_size":48,"layers":2,"modules":{"model.embed_tokens":{"type":"embedding","in_features":48,"out_features":32,"bias":false},"model.layers.0.self_attn.q_proj":{"type":"linear","in_features":32,"out_features":32,"bias":false},"model.layers.0.self_attn.k_proj":{"type":"linear","in_features":32,"out_features":16,"bias":false},"model.layers.0.self_attn.v_proj":{"type":"linear","in_features":32,"out_features":16,"bias":false},"model.layers.0.self_attn.o_proj":{"type":"linear","in_features":32,"out_features":32,"bias":false},"model.layers.0.mlp.gate_proj":{"type":"linear","in_features":32,"out_features":48,"bias":false},"model.layers.0.mlp.up_proj":{"type":"linear","in_features":32,"out_features":48,"bias":false},"model.layers.0.mlp.down_proj":{"type":"linear","in_features":48,"out_features":32,"bias":false},"model.layers.0.input_layernorm":{"type":"norm","in_features":32,"out_features":32,"bias":false},"model.layers.0.post_attention_layernorm":{"type":"norm","in_features":32,"out_features":32,"bias":false},"model.layers.1.self_attn.q_proj":{"type":"linear","in_features":32,"out_features":32,"bias":false},"model.layers.1.self_attn.k_proj":{"type":"linear","in_features":32,"out_features":16,"bias":false},"model.layers.1.self_attn.v_proj":{"type":"linear","in_features":32,"out_features":16,"bias":false},"model.layers.1.self_attn.o_proj":{"type":"linear","in_features":32,"out_features":32,"bias":false},"model.layers.1.mlp.gate_proj":{"type":"linear","in_features":32,"out_features":48,"bias":false},"model.layers.1.mlp.up_proj":{"type":"linear","in_features":32,"out_features":48,"bias":false},"model.layers.1.mlp.down_proj":{"type":"linear","in_features":48,"out_features":32,"bias":false},"model.layers.1.input_layernorm":{"type":"norm","in_features":32,"out_features":32,"bias":false},"model.layers.1.post_attention_layernorm":{"type":"norm","in_features":32,"out_features":32,"bias":false},"model.norm":{"type":"norm","in_features":32,"out_features":32,"bias":false},"lm_head":{"type":"head","in_features":32,"out_features":48,"bias":false}}}	1795826429396
\.


--
-- Data for Name: blobs; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.blobs (digest, size, created_at, condemned_at) FROM stdin;
sha256:e625c71131d11514f4252d0e08c391649736605ff21266c370edf052987bd09d	1573	2026-11-27 19:40:31.609243-05	\N
sha256:a7270239fbf15df0e0f083379e24c68b8d28a91413af880a0ad2fc5ef7f9cb1e	33176	2026-11-27 19:40:31.63718-05	\N
sha256:23bfbd6380f3ee17b4404481a99ccc45e2245fef5d987797c54121ab9e522ac7	1133	2026-11-27 19:40:33.87012-05	\N
sha256:0bfd1bf293639d64e053bba52a5d350f4e9365cc31de265cb6b42ce7509bcb7d	5880	2026-11-27 19:40:33.916947-05	\N
sha256:ed5e2ac4027b7bbe9404ce9562ef2ef9ef15d9fc0a86ac8f978e01d4484b19cf	1086	2026-11-27 19:40:36.446468-05	\N
sha256:e574bafcf902ae8f124a00f8dcc8d46af524ebe8166458749740d1ed21401a80	2248	2026-11-27 19:40:36.491644-05	\N
sha256:328c3cce2e42fa8c4a4e04e2dda2c2c572b5171b5e8b86a599ffad9cb33d5457	1078	2026-11-27 19:40:29.637564-05	\N
sha256:f8547d063660f7209961327ac0866fa116ea99bf0fc7e8457e09ce35d3d92f83	4608	2026-11-27 19:40:29.684748-05	\N
\.


--
-- Data for Name: evaluations; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.evaluations (version_id, name, passed, metrics, at, actor) FROM stdin;
3	safety	t	{"refusals": 0.25}	2026-11-27 19:40:40.884024-05	anonymous
\.


--
-- Data for Name: feed; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.feed (id, first_seq, seq, head) FROM stdin;
1	1795826429395	1795826429416	sha256:dd4f61e4da9116e1f02b780ba9b780590139d28cb9342ddee3906a03f7a5ee19
\.


--
-- Data for Name: keys; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.keys (id, tenant_id, name, scopes, quotas, secret_hash, created_at, expires_at, revoked_at) FROM stdin;
io34i62fosk6	\N	operator	admin serve	{}	869ecc2cbf8de3d1ec1d53012477311bfc96e1887b2eaab9dec05fea5d82e47e	2026-11-27 19:40:29.464115-05	\N	\N
un3cklyd4tym	1	acme's	adapter:write infer	{"concurrent":4}	032157a56b71f587490ec11a6a84e35d0920413ac63e40432d1a759298c4cac0	2026-11-27 19:40:29.515747-05	\N	\N
pe7iomvslrxm	1	leaver	infer	{}	9daf7669ec9e66fb1cb4f15d5a117110ba63ff4da0560e394ec839c296853390	2026-11-27 19:40:29.543429-05	\N	2026-11-27 19:40:29.562325-05
\.


--
-- Data for Name: leases; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.leases (tenant_id, blob, expires_at) FROM stdin;
\.


--
-- Data for Name: shares; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.shares (adapter_id, grantee) FROM stdin;
1	globex
\.


--
-- Data for Name: tenants; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.tenants (id, name, created_at, max_bytes, max_versions, keep_versions, keep_days) FROM stdin;
1	acme	2026-11-27 19:40:29.502658-05	\N	\N	\N	\N
2	globex	2026-11-27 19:40:38.459146-05	\N	7	3	\N
\.


--
-- Data for Name: version_files; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.version_files (version_id, path, blob) FROM stdin;
1	adapter_config.json	sha256:328c3cce2e42fa8c4a4e04e2dda2c2c572b5171b5e8b86a599ffad9cb33d5457
1	adapter_model.safetensors	sha256:f8547d063660f7209961327ac0866fa116ea99bf0fc7e8457e09ce35d3d92f83
2	adapter_config.json	sha256:e625c71131d11514f4252d0e08c391649736605ff21266c370edf052987bd09d
2	adapter_model.safetensors	sha256:a7270239fbf15df0e0f083379e24c68b8d28a91413af880a0ad2fc5ef7f9cb1e
3	adapter_config.json	sha256:23bfbd6380f3ee17b4404481a99ccc45e2245fef5d987797c54121ab9e522ac7
3	adapter_model.safetensors	sha256:0bfd1bf293639d64e053bba52a5d350f4e9365cc31de265cb6b42ce7509bcb7d
4	adapter_config.json	sha256:ed5e2ac4027b7bbe9404ce9562ef2ef9ef15d9fc0a86ac8f978e01d4484b19cf
4	adapter_model.safetensors	sha256:e574bafcf902ae8f124a00f8dcc8d46af524ebe8166458749740d1ed21401a80
5	adapter_config.json	sha256:328c3cce2e42fa8c4a4e04e2dda2c2c572b5171b5e8b86a599ffad9cb33d5457
5	adapter_model.safetensors	sha256:f8547d063660f7209961327ac0866fa116ea99bf0fc7e8457e09ce35d3d92f83
\.


--
-- Data for Name: versions; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.versions (id, adapter_id, number, digest, base, kind, rank, size_bytes, manifest, lineage, created_at, deleted_at, norms, parent) FROM stdin;
1	1	1	sha256:392b1d5fd2fc1daf1ea398629ebe82819728dc0eb3d0dc6b1b4e59f28572d807	sha256:77c9fff94068c235183c4dd516d6d3e2b5339b0cb260ff2c4f1058e0413bee03	lora	4	5686	{"base":"sha256:77c9fff94068c235183c4dd516d6d3e2b5339b0cb260ff2c4f1058e0413bee03","dtype":"float32","files":[{"digest":"sha256:328c3cce2e42fa8c4a4e04e2dda2c2c572b5171b5e8b86a599ffad9cb33d5457","path":"adapter_config.json","size":1078},{"digest":"sha256:f8547d063660f7209961327ac0866fa116ea99bf0fc7e8457e09ce35d3d92f83","path":"adapter_model.safetensors","size":4608}],"format":1,"kind":"lora","modules":[{"a":"base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight","b":"base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight","b_bias":null,"bias":null,"module":"model.layers.0.self_attn.q_proj","rank":4,"scale":2.0},{"a":"base_model.model.model.layers.0.self_attn.v_proj.lora_A.weight","b":"base_model.model.model.layers.0.self_attn.v_proj.lora_B.weight","b_bias":null,"bias":null,"module":"model.layers.0.self_attn.v_proj","rank":4,"scale":2.0},{"a":"base_model.model.model.layers.1.self_attn.q_proj.lora_A.weight","b":"base_model.model.model.layers.1.self_attn.q_proj.lora_B.weight","b_bias":null,"bias":null,"module":"model.layers.1.self_attn.q_proj","rank":4,"scale":2.0},{"a":"base_model.model.model.layers.1.self_attn.v_proj.lora_A.weight","b":"base_model.model.model.layers.1.self_attn.v_proj.lora_B.weight","b_bias":null,"bias":null,"module":"model.layers.1.self_attn.v_proj","rank":4,"scale":2.0}],"rank":4}	{"metrics": {"accuracy": 0.5}}	2026-11-27 19:40:31.552861-05	\N	{"modules":4,"total":20.9456,"largest":13.5658,"smallest":8.31317,"max_abs":1.23045,"by_module":[{"module":"model.layers.0.self_attn.q_proj","a":3.53062,"b":2.80363,"delta":9.86914,"bias":0.0,"max_abs":1.02315},{"module":"model.layers.0.self_attn.v_proj","a":3.39236,"b":2.80636,"delta":9.39034,"bias":0.0,"max_abs":1.23045},{"module":"model.layers.1.self_attn.q_proj","a":3.79363,"b":3.69618,"delta":13.5658,"bias":0.0,"max_abs":1.02085},{"module":"model.layers.1.self_attn.v_proj","a":3.4788,"b":2.28129,"delta":8.31317,"bias":0.0,"max_abs":0.934385}]}	\N
2	1	2	sha256:a71862a8c7fb8069662beeb51edf777fcfc14d0f45c86942a1de415590ed42f8	sha256:77c9fff94068c235183c4dd516d6d3e2b5339b0cb260ff2c4f1058e0413bee03	lora	8	34749	{"base":"sha256:77c9fff94068c235183c4dd516d6d3e2b5339b0cb260ff2c4f1058e0413bee03","dtype":"float32","files":[{"digest":"sha256:e625c71131d11514f4252d0e08c391649736605ff21266c370edf052987bd09d","path":"adapter_config.json","size":1573},{"digest":"sha256:a7270239fbf15df0e0f083379e24c68b8d28a91413af880a0ad2fc5ef7f9cb1e","path":"adapter_model.safetensors","size":33176}],"format":1,"kind":"lora","modules":[{"a":"base_model.model.model.layers.0.mlp.down_proj.lora_A.weight","b":"base_model.model.model.layers.0.mlp.down_proj.lora_B.weight","b_bias":null,"bias":null,"module":"model.layers.0.mlp.down_proj","rank":8,"scale":1.414213562373095},{"a":"base_model.model.model.layers.0.mlp.gate_proj.lora_A.weight","b":"base_model.model.model.layers.0.mlp.gate_proj.lora_B.weight","b_bias":null,"bias":null,"module":"model.layers.0.mlp.gate_proj","rank":8,"scale":1.414213562373095},{"a":"base_model.model.model.layers.0.mlp.up_proj.lora_A.weight","b":"base_model.model.model.layers.0.mlp.up_proj.lora_B.weight","b_bias":null,"bias":null,"module":"model.layers.0.mlp.up_proj","rank":8,"scale":1.414213562373095},{"a":"base_model.model.model.layers.0.self_attn.k_proj.lora_A.weight","b":"base_model.model.model.layers.0.self_attn.k_proj.lora_B.weight","b_bias":null,"bias":null,"module":"model.layers.0.self_attn.k_proj","rank":8,"scale":1.414213562373095},{"a":"base_model.model.model.layers.0.self_attn.o_proj.lora_A.weight","b":"base_model.model.model.layers.0.self_attn.o_proj.lora_B.weight","b_bias":null,"bias":null,"module":"model.layers.0.self_attn.o_proj","rank":8,"scale":1.414213562373095},{"a":"base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight","b":"base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight","b_bias":null,"bias":null,"module":"model.layers.0.self_attn.q_proj","rank":8,"scale":1.414213562373095},{"a":"base_model.model.model.layers.0.self_attn.v_proj.lora_A.weight","b":"base_model.model.model.layers.0.self_attn.v_proj.lora_B.weight","b_bias":null,"bias":null,"module":"model.layers.0.self_attn.v_proj","rank":8,"scale":1.414213562373095},{"a":"base_model.model.model.layers.1.mlp.down_proj.lora_A.weight","b":"base_model.model.model.layers.1.mlp.down_proj.lora_B.weight","b_bias":null,"bias":null,"module":"model.layers.1.mlp.down_proj","rank":8,"scale":1.414213562373095},{"a":"base_model.model.model.layers.1.mlp.gate_proj.lora_A.weight","b":"base_model.model.model.layers.1.mlp.gate_proj.lora_B.weight","b_bias":null,"bias":null,"module":"model.layers.1.mlp.gate_proj","rank":8,"scale":1.414213562373095},{"a":"base_model.model.model.layers.1.mlp.up_proj.lora_A.weight","b":"base_model.model.model.layers.1.mlp.up_proj.lora_B.weight","b_bias":null,"bias":null,"module":"model.layers.1.mlp.up_proj","rank":8,"scale":1.414213562373095},{"a":"base_model.model.model.layers.1.self_attn.k_proj.lora_A.weight","b":"base_model.model.model.layers.1.self_attn.k_proj.lora_B.weight","b_bias":null,"bias":null,"module":"model.layers.1.self_attn.k_proj","rank":8,"scale":1.414213562373095},{"a":"base_model.model.model.layers.1.self_attn.o_proj.lora_A.weight","b":"base_model.model.model.layers.1.self_attn.o_proj.lora_B.weight","b_bias":null,"bias":null,"module":"model.layers.1.self_attn.o_proj","rank":8,"scale":1.414213562373095},{"a":"base_model.model.model.layers.1.self_attn.q_proj.lora_A.weight","b":"base_model.model.model.layers.1.self_attn.q_proj.lora_B.weight","b_bias":null,"bias":null,"module":"model.layers.1.self_attn.q_proj","rank":8,"scale":1.414213562373095},{"a":"base_model.model.model.layers.1.self_attn.v_proj.lora_A.weight","b":"base_model.model.model.layers.1.self_attn.v_proj.lora_B.weight","b_bias":null,"bias":null,"module":"model.layers.1.self_attn.v_proj","rank":8,"scale":1.414213562373095}],"rank":8}	{"metrics": {"accuracy": 0.5}, "parent": "sha256:392b1d5fd2fc1daf1ea398629ebe82819728dc0eb3d0dc6b1b4e59f28572d807"}	2026-11-27 19:40:33.803619-05	\N	{"modules":14,"total":45.4993,"largest":15.2391,"smallest":7.95308,"max_abs":1.25524,"by_module":[{"module":"model.layers.0.mlp.down_proj","a":5.55268,"b":4.51205,"delta":12.4046,"bias":0.0,"max_abs":0.926384},{"module":"model.layers.0.mlp.gate_proj","a":4.88137,"b":6.22283,"delta":15.2391,"bias":0.0,"max_abs":0.978005},{"module":"model.layers.0.mlp.up_proj","a":4.86017,"b":5.78232,"delta":14.1378,"bias":0.0,"max_abs":1.07326},{"module":"model.layers.0.self_attn.k_proj","a":4.83936,"b":3.6173,"delta":9.11623,"bias":0.0,"max_abs":1.00884},{"module":"model.layers.0.self_attn.o_proj","a":4.65898,"b":4.96589,"delta":11.2912,"bias":0.0,"max_abs":0.83994},{"module":"model.layers.0.self_attn.q_proj","a":4.99183,"b":4.82516,"delta":11.9598,"bias":0.0,"max_abs":0.999346},{"module":"model.layers.0.self_attn.v_proj","a":5.28161,"b":3.54872,"delta":9.65227,"bias":0.0,"max_abs":1.18365},{"module":"model.layers.1.mlp.down_proj","a":5.95954,"b":4.89821,"delta":15.0126,"bias":0.0,"max_abs":0.977994},{"module":"model.layers.1.mlp.gate_proj","a":4.90699,"b":5.88679,"delta":14.1499,"bias":0.0,"max_abs":1.14081},{"module":"model.layers.1.mlp.up_proj","a":4.72608,"b":5.8259,"delta":13.5493,"bias":0.0,"max_abs":0.921202},{"module":"model.layers.1.self_attn.k_proj","a":4.52951,"b":3.45504,"delta":7.95308,"bias":0.0,"max_abs":1.25524},{"module":"model.layers.1.self_attn.o_proj","a":5.20208,"b":5.19692,"delta":13.2437,"bias":0.0,"max_abs":1.12205},{"module":"model.layers.1.self_attn.q_proj","a":4.55024,"b":4.84284,"delta":11.0653,"bias":0.0,"max_abs":1.0217},{"module":"model.layers.1.self_attn.v_proj","a":5.01523,"b":3.23496,"delta":8.194,"bias":0.0,"max_abs":0.892359}]}	sha256:392b1d5fd2fc1daf1ea398629ebe82819728dc0eb3d0dc6b1b4e59f28572d807
3	1	3	sha256:f93de8f987853b50439950982e326b86b36f09b986640dac6c4ba61fbc3d448e	sha256:77c9fff94068c235183c4dd516d6d3e2b5339b0cb260ff2c4f1058e0413bee03	lora	6	7013	{"base":"sha256:77c9fff94068c235183c4dd516d6d3e2b5339b0cb260ff2c4f1058e0413bee03","dtype":"float32","files":[{"digest":"sha256:23bfbd6380f3ee17b4404481a99ccc45e2245fef5d987797c54121ab9e522ac7","path":"adapter_config.json","size":1133},{"digest":"sha256:0bfd1bf293639d64e053bba52a5d350f4e9365cc31de265cb6b42ce7509bcb7d","path":"adapter_model.safetensors","size":5880}],"format":1,"kind":"lora","modules":[{"a":"base_model.model.model.layers.0.mlp.down_proj.lora_A.weight","b":"base_model.model.model.layers.0.mlp.down_proj.lora_B.weight","b_bias":null,"bias":null,"module":"model.layers.0.mlp.down_proj","rank":6,"scale":0.6666666666666666},{"a":"base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight","b":"base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight","b_bias":null,"bias":null,"module":"model.layers.0.self_attn.q_proj","rank":2,"scale":2.0},{"a":"base_model.model.model.layers.1.mlp.down_proj.lora_A.weight","b":"base_model.model.model.layers.1.mlp.down_proj.lora_B.weight","b_bias":null,"bias":null,"module":"model.layers.1.mlp.down_proj","rank":6,"scale":0.6666666666666666},{"a":"base_model.model.model.layers.1.self_attn.q_proj.lora_A.weight","b":"base_model.model.model.layers.1.self_attn.q_proj.lora_B.weight","b_bias":null,"bias":null,"module":"model.layers.1.self_attn.q_proj","rank":2,"scale":1.5}],"rank":6}	{"metrics": {"accuracy": 0.5}, "parent": "sha256:392b1d5fd2fc1daf1ea398629ebe82819728dc0eb3d0dc6b1b4e59f28572d807"}	2026-11-27 19:40:36.351609-05	\N	{"modules":4,"total":12.3739,"largest":7.28796,"smallest":5.37766,"max_abs":1.01419,"by_module":[{"module":"model.layers.0.mlp.down_proj","a":5.04781,"b":4.34793,"delta":5.95435,"bias":0.0,"max_abs":1.00674},{"module":"model.layers.0.self_attn.q_proj","a":2.34814,"b":2.2133,"delta":7.28796,"bias":0.0,"max_abs":0.82892},{"module":"model.layers.1.mlp.down_proj","a":4.80688,"b":4.22624,"delta":5.37766,"bias":0.0,"max_abs":0.910674},{"module":"model.layers.1.self_attn.q_proj","a":2.40831,"b":2.31222,"delta":5.96881,"bias":0.0,"max_abs":1.01419}]}	sha256:392b1d5fd2fc1daf1ea398629ebe82819728dc0eb3d0dc6b1b4e59f28572d807
5	2	1	sha256:392b1d5fd2fc1daf1ea398629ebe82819728dc0eb3d0dc6b1b4e59f28572d807	sha256:77c9fff94068c235183c4dd516d6d3e2b5339b0cb260ff2c4f1058e0413bee03	lora	4	5686	{"base":"sha256:77c9fff94068c235183c4dd516d6d3e2b5339b0cb260ff2c4f1058e0413bee03","dtype":"float32","files":[{"digest":"sha256:328c3cce2e42fa8c4a4e04e2dda2c2c572b5171b5e8b86a599ffad9cb33d5457","path":"adapter_config.json","size":1078},{"digest":"sha256:f8547d063660f7209961327ac0866fa116ea99bf0fc7e8457e09ce35d3d92f83","path":"adapter_model.safetensors","size":4608}],"format":1,"kind":"lora","modules":[{"a":"base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight","b":"base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight","b_bias":null,"bias":null,"module":"model.layers.0.self_attn.q_proj","rank":4,"scale":2.0},{"a":"base_model.model.model.layers.0.self_attn.v_proj.lora_A.weight","b":"base_model.model.model.layers.0.self_attn.v_proj.lora_B.weight","b_bias":null,"bias":null,"module":"model.layers.0.self_attn.v_proj","rank":4,"scale":2.0},{"a":"base_model.model.model.layers.1.self_attn.q_proj.lora_A.weight","b":"base_model.model.model.layers.1.self_attn.q_proj.lora_B.weight","b_bias":null,"bias":null,"module":"model.layers.1.self_attn.q_proj","rank":4,"scale":2.0},{"a":"base_model.model.model.layers.1.self_attn.v_proj.lora_A.weight","b":"base_model.model.model.layers.1.self_attn.v_proj.lora_B.weight","b_bias":null,"bias":null,"module":"model.layers.1.self_attn.v_proj","rank":4,"scale":2.0}],"rank":4}	{}	2026-11-27 19:40:40.408184-05	\N	{"modules":4,"total":20.9456,"largest":13.5658,"smallest":8.31317,"max_abs":1.23045,"by_module":[{"module":"model.layers.0.self_attn.q_proj","a":3.53062,"b":2.80363,"delta":9.86914,"bias":0.0,"max_abs":1.02315},{"module":"model.layers.0.self_attn.v_proj","a":3.39236,"b":2.80636,"delta":9.39034,"bias":0.0,"max_abs":1.23045},{"module":"model.layers.1.self_attn.q_proj","a":3.79363,"b":3.69618,"delta":13.5658,"bias":0.0,"max_abs":1.02085},{"module":"model.layers.1.self_attn.v_proj","a":3.4788,"b":2.28129,"delta":8.31317,"bias":0.0,"max_abs":0.934385}]}	\N
4	1	4	sha256:4e13b1703d2c34d02cff6640751ca196066249e1ffc8f77e26b8be10d32e66d1	sha256:77c9fff94068c235183c4dd516d6d3e2b5339b0cb260ff2c4f1058e0413bee03	lora	3	3334	{"base":"sha256:77c9fff94068c235183c4dd516d6d3e2b5339b0cb260ff2c4f1058e0413bee03","dtype":"float32","files":[{"digest":"sha256:ed5e2ac4027b7bbe9404ce9562ef2ef9ef15d9fc0a86ac8f978e01d4484b19cf","path":"adapter_config.json","size":1086},{"digest":"sha256:e574bafcf902ae8f124a00f8dcc8d46af524ebe8166458749740d1ed21401a80","path":"adapter_model.safetensors","size":2248}],"format":1,"kind":"lora","modules":[{"a":"base_model.model.model.layers.1.mlp.up_proj.lora_A.weight","b":"base_model.model.model.layers.1.mlp.up_proj.lora_B.weight","b_bias":null,"bias":null,"module":"model.layers.1.mlp.up_proj","rank":3,"scale":2.0},{"a":"base_model.model.model.layers.1.self_attn.o_proj.lora_A.weight","b":"base_model.model.model.layers.1.self_attn.o_proj.lora_B.weight","b_bias":null,"bias":null,"module":"model.layers.1.self_attn.o_proj","rank":3,"scale":2.0}],"rank":3}	{"metrics": {"accuracy": 0.5}, "parent": "sha256:392b1d5fd2fc1daf1ea398629ebe82819728dc0eb3d0dc6b1b4e59f28572d807"}	2026-11-27 19:40:38.40198-05	2026-11-27 19:40:40.85706-05	{"modules":2,"total":15.6634,"largest":12.1175,"smallest":9.92511,"max_abs":0.853508,"by_module":[{"module":"model.layers.1.mlp.up_proj","a":2.96204,"b":3.5245,"delta":12.1175,"bias":0.0,"max_abs":0.805686},{"module":"model.layers.1.self_attn.o_proj","a":2.72537,"b":3.14226,"delta":9.92511,"bias":0.0,"max_abs":0.853508}]}	sha256:392b1d5fd2fc1daf1ea398629ebe82819728dc0eb3d0dc6b1b4e59f28572d807
\.


--
-- Name: adapters_id_seq; Type: SEQUENCE SET; Schema: public; Owner: -
--

SELECT pg_catalog.setval('public.adapters_id_seq', 2, true);


--
-- Name: tenants_id_seq; Type: SEQUENCE SET; Schema: public; Owner: -
--

SELECT pg_catalog.setval('public.tenants_id_seq', 2, true);


--
-- Name: versions_id_seq; Type: SEQUENCE SET; Schema: public; Owner: -
--

SELECT pg_catalog.setval('public.versions_id_seq', 5, true);


--
-- Name: alembic_version alembic_version_pkc; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.alembic_version
    ADD CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num);


--
-- Name: adapters pk_adapters; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.adapters
    ADD CONSTRAINT pk_adapters PRIMARY KEY (id);


--
-- Name: aliases pk_aliases; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.aliases
    ADD CONSTRAINT pk_aliases PRIMARY KEY (adapter_id, alias);


--
-- Name: audit pk_audit; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.audit
    ADD CONSTRAINT pk_audit PRIMARY KEY (seq);


--
-- Name: bases pk_bases; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.bases
    ADD CONSTRAINT pk_bases PRIMARY KEY (digest);


--
-- Name: blobs pk_blobs; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.blobs
    ADD CONSTRAINT pk_blobs PRIMARY KEY (digest);


--
-- Name: evaluations pk_evaluations; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.evaluations
    ADD CONSTRAINT pk_evaluations PRIMARY KEY (version_id, name);


--
-- Name: feed pk_feed; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.feed
    ADD CONSTRAINT pk_feed PRIMARY KEY (id);


--
-- Name: keys pk_keys; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.keys
    ADD CONSTRAINT pk_keys PRIMARY KEY (id);


--
-- Name: leases pk_leases; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.leases
    ADD CONSTRAINT pk_leases PRIMARY KEY (tenant_id, blob);


--
-- Name: shares pk_shares; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.shares
    ADD CONSTRAINT pk_shares PRIMARY KEY (adapter_id, grantee);


--
-- Name: tenants pk_tenants; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.tenants
    ADD CONSTRAINT pk_tenants PRIMARY KEY (id);


--
-- Name: version_files pk_version_files; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.version_files
    ADD CONSTRAINT pk_version_files PRIMARY KEY (version_id, path);


--
-- Name: versions pk_versions; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.versions
    ADD CONSTRAINT pk_versions PRIMARY KEY (id);


--
-- Name: adapters uq_adapters_tenant_id; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.adapters
    ADD CONSTRAINT uq_adapters_tenant_id UNIQUE (tenant_id, name);


--
-- Name: tenants uq_tenants_name; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.tenants
    ADD CONSTRAINT uq_tenants_name UNIQUE (name);


--
-- Name: versions uq_versions_adapter_id; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.versions
    ADD CONSTRAINT uq_versions_adapter_id UNIQUE (adapter_id, number);


--
-- Name: ix_audit_adapter_id; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_audit_adapter_id ON public.audit USING btree (adapter_id);


--
-- Name: ix_leases_blob; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_leases_blob ON public.leases USING btree (blob);


--
-- Name: ix_version_files_blob; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_version_files_blob ON public.version_files USING btree (blob);


--
-- Name: ix_versions_digest; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_versions_digest ON public.versions USING btree (digest);


--
-- Name: ix_versions_parent; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_versions_parent ON public.versions USING btree (parent);


--
-- Name: adapters fk_adapters_tenant_id; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.adapters
    ADD CONSTRAINT fk_adapters_tenant_id FOREIGN KEY (tenant_id) REFERENCES public.tenants(id);


--
-- Name: aliases fk_aliases_adapter_id; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.aliases
    ADD CONSTRAINT fk_aliases_adapter_id FOREIGN KEY (adapter_id) REFERENCES public.adapters(id);


--
-- Name: aliases fk_aliases_version_id; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.aliases
    ADD CONSTRAINT fk_aliases_version_id FOREIGN KEY (version_id) REFERENCES public.versions(id);


--
-- Name: audit fk_audit_adapter_id; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.audit
    ADD CONSTRAINT fk_audit_adapter_id FOREIGN KEY (adapter_id) REFERENCES public.adapters(id);


--
-- Name: audit fk_audit_version_id; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.audit
    ADD CONSTRAINT fk_audit_version_id FOREIGN KEY (version_id) REFERENCES public.versions(id);


--
-- Name: evaluations fk_evaluations_version_id; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.evaluations
    ADD CONSTRAINT fk_evaluations_version_id FOREIGN KEY (version_id) REFERENCES public.versions(id);


--
-- Name: keys fk_keys_tenant_id; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.keys
    ADD CONSTRAINT fk_keys_tenant_id FOREIGN KEY (tenant_id) REFERENCES public.tenants(id);


--
-- Name: leases fk_leases_blob; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.leases
    ADD CONSTRAINT fk_leases_blob FOREIGN KEY (blob) REFERENCES public.blobs(digest);


--
-- Name: leases fk_leases_tenant_id; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.leases
    ADD CONSTRAINT fk_leases_tenant_id FOREIGN KEY (tenant_id) REFERENCES public.tenants(id);


--
-- Name: shares fk_shares_adapter_id; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.shares
    ADD CONSTRAINT fk_shares_adapter_id FOREIGN KEY (adapter_id) REFERENCES public.adapters(id);


--
-- Name: version_files fk_version_files_blob; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.version_files
    ADD CONSTRAINT fk_version_files_blob FOREIGN KEY (blob) REFERENCES public.blobs(digest);


--
-- Name: version_files fk_version_files_version_id; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.version_files
    ADD CONSTRAINT fk_version_files_version_id FOREIGN KEY (version_id) REFERENCES public.versions(id);


--
-- Name: versions fk_versions_adapter_id; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.versions
    ADD CONSTRAINT fk_versions_adapter_id FOREIGN KEY (adapter_id) REFERENCES public.adapters(id);


--
-- Name: versions fk_versions_base; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.versions
    ADD CONSTRAINT fk_versions_base FOREIGN KEY (base) REFERENCES public.bases(digest);


--
-- PostgreSQL database dump complete
--

\unrestrict WKNv9wdPgDdaAXP1Q6bUF6l6IXl8kpl0iFlExfjTDyKYfWsAkQ7vPoRVyoyLqWP

