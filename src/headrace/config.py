"""Every setting of every service.

One YAML file may hold all services, a section each (``api:``, ``router:``, ``up:``, and ``cpu:``, ``bert:``,
``vllm:``, ``trt:`` for the workers). What is not in the file comes from the environment (``HEADRACE_API_PORT``), and a
flag wins over both. Settings are built once, by ``load``, and passed in; nothing else reads the environment.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from headrace import sources
from headrace.sources import Settings

Port = Annotated[int, Field(ge=0, le=65535)]
"""0 takes a free one."""
PositiveInt = Annotated[int, Field(gt=0)]
PositiveFloat = Annotated[float, Field(gt=0)]
NotNegative = Annotated[int, Field(ge=0)]
Fraction = Annotated[float, Field(gt=0, le=1)]
Seconds = PositiveFloat
HostPort = Annotated[str, Field(pattern=r"^[^\s/]+:\d+$")]


def home() -> Path:
    """Where all state of this machine lives: ``HEADRACE_HOME``, else ``~/.headrace``."""
    return Path(os.environ.get("HEADRACE_HOME", "~/.headrace")).expanduser()


def bootstrap_key() -> str:
    """The first key that the operator chose, ``HEADRACE_BOOTSTRAP_KEY``; empty if a random one is to be made."""
    return os.environ.get("HEADRACE_BOOTSTRAP_KEY", "")


def _http_url(value: str) -> str:
    if not value.startswith("http://"):
        raise ValueError("must start with http://")
    return value.rstrip("/")


HttpUrl = Annotated[str, AfterValidator(_http_url)]


class ServiceSettings(Settings):
    """What every service has."""

    port: Port = Field(description="Traffic port.")
    ops_port: Port = Field(description="Ops port.")
    host: str = Field("0.0.0.0", description="Address to listen on.")
    ops_host: str = Field("", description="The same for the ops port; empty: as `host`.")
    drain_timeout: Seconds = Field(60.0, description="Seconds that running requests get to finish after SIGTERM.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level that is logged.")
    hop_secret: str = Field(
        "", description="Shared secret between the hops; empty: only this machine is served.", repr=False
    )
    hop_secret_previous: str = Field("", description="Still accepted while the secret is rotated.", repr=False)


class ApiSettings(ServiceSettings):
    """llm-api."""

    section: ClassVar[str] = "api"
    port: Port = Field(8000, description="Traffic port.")
    ops_port: Port = Field(9100, description="Ops port.")
    processes: PositiveInt = Field(1, description="Processes that share the traffic port.")
    router: list[HttpUrl] = Field(["http://127.0.0.1:8001"], description="Addresses of the routers.")
    database: str = Field(
        "", description="SQLAlchemy URL of the key store; empty: SQLite under HEADRACE_HOME.", repr=False
    )
    redis: str = Field(
        "", description="URL of the Redis or Valkey that limits are counted in; empty: in memory.", repr=False
    )
    pepper: str = Field(
        "", description="Secret that keys are hashed with; empty: made once under HEADRACE_HOME.", repr=False
    )
    spool: Path | None = Field(
        None, description="Folder where usage waits for the database; empty: spool under HEADRACE_HOME."
    )
    spool_limit: PositiveInt = Field(256 * 1024 * 1024, description="Bytes of usage that may wait there.")
    ledger_days: PositiveInt = Field(90, description="Days that single records of usage are kept; sums stay.")
    max_body: PositiveInt = Field(8 * 1024 * 1024, description="Largest JSON body, in bytes.")
    trusted_proxies: list[str] = Field(
        [], description="Addresses or networks whose `X-Forwarded-For` is believed, such as `10.0.0.0/8`."
    )
    oidc_issuer: str = Field("", description="OpenID provider whose access tokens are accepted; empty: none.")
    oidc_audience: str = Field("", description="Audience that its tokens must be for.")
    oidc_algorithms: list[str] = Field(["RS256", "ES256"], description="Algorithms that tokens may be signed with.")
    oidc_jwks: str = Field("", description="URL of the provider's keys; empty: as its discovery document says.")
    oidc_tenant_claim: str = Field("tenant", description="Claim that names the tenant, by id or name.")
    aliases: Path | None = Field(None, description="YAML file of aliases, read again when it changes.")
    media_hosts: list[str] = Field([], description="Hosts that media may be fetched from; `data:` URLs are allowed.")
    responses_days: float = Field(
        30.0, ge=0, description="Days for which responses are stored, unless the client says `store: false`; 0: never."
    )
    cache: dict[str, Seconds] = Field(
        {}, description="Tenants, by id, whose exact answers are kept for another time, and for how many seconds."
    )
    prompt_log: Path | None = Field(None, description="File that prompts are logged to; empty: none ever is.")
    prompt_log_tenants: list[str] = Field([], description="Tenants, by id, that agreed to it.")
    redact: list[str] = Field([], description="Regular expressions of what else is replaced in logged prompts.")
    max_upload: PositiveInt = Field(64 * 1024 * 1024, description="Largest upload to /v1/files, in bytes.")
    files_quota: PositiveInt = Field(1024 * 1024 * 1024, description="Bytes that the files of a tenant may have.")
    files_days: float = Field(30.0, gt=0, description="Days for which files are kept, unless their owner says less.")
    batch_width: int = Field(
        8, ge=0, description="Requests of a batch that this process sends at the same time; 0: it works on none."
    )
    idempotency_hours: float = Field(24.0, gt=0, description="Hours for which an Idempotency-Key is remembered.")
    otlp: str = Field("", description="URL of an OTLP/HTTP collector for traces, such as http://collector:4318.")
    otlp_sample: float = Field(
        1.0, ge=0, le=1, description="Part of the traces that is sent; a caller's traceparent decides for its own."
    )
    first_event_timeout: Seconds = Field(600.0, description="Seconds a client waits for the first byte at most.")


class PoolSettings(BaseModel):
    """One pool of the router, where it differs from the others."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    profile: str = ""
    queue: PositiveInt | None = None
    cold_wait: Seconds | None = None
    tenant_share: Fraction | None = None


class RouterSettings(ServiceSettings):
    """The router."""

    section: ClassVar[str] = "router"
    port: Port = Field(8001, description="Traffic port.")
    ops_port: Port = Field(9101, description="Ops port.")
    processes: PositiveInt = Field(1, description="Processes that share the traffic port.")
    workers: list[str] = Field(
        [],
        description="Workers as MODEL=URL[,ops=URL], MODEL=dns://NAME or MODEL=k8s://NAMESPACE/SERVICE; "
        "* in place of MODEL: whichever pools they serve.",
    )
    pools: dict[str, PoolSettings] = Field(
        {}, description="Pools by name, with settings of their own; those that workers are named for need not be here."
    )
    max_body: PositiveInt = Field(9 * 1024 * 1024, description="Largest body, in bytes; more than llm-api's.")
    queue: PositiveInt = Field(1024, description="Requests that may wait per pool.")
    cold_wait: Seconds = Field(20.0, description="Seconds that requests wait for a pool whose last worker went away.")
    tenant_share: Fraction = Field(
        0.5, description="Of each worker, for a tenant that is not alone there; 1: as much as it can get."
    )
    profile: str = Field("latency", description="How a worker is chosen: a name of ours or one of profiles.")
    profiles: dict[str, dict[str, PositiveFloat]] = Field(
        {}, description="Profiles of your own: plugins and their weights, such as {mine: {prefix: 3, least-work: 1}}."
    )
    replicas: PositiveInt = Field(1, description="Routers that share the workers.")
    replicas_dns: str = Field("", description="Name of the routers' headless Service, to count them by; else replicas.")
    nameservers: list[str] = Field([], description="Name servers for dns://, as ADDRESS[:PORT]; empty: the machine's.")
    kubernetes_api: str = Field("https://kubernetes.default.svc", description="API server for k8s://.")
    kubernetes_account: Path = Field(
        Path("/var/run/secrets/kubernetes.io/serviceaccount"), description="Folder with its ca.crt and our token."
    )
    decision_log: Path | None = Field(None, description="File that decisions are logged to, for `router replay`.")
    attempts: PositiveInt = Field(3, description="Workers that a request is tried on at most.")
    replay_memory: PositiveInt = Field(
        256 * 1024 * 1024, description="Bytes of running streams that each process keeps to resume them."
    )
    poll_interval: Seconds = Field(0.5, description="Seconds between two looks at a worker's /load.")


class WorkerSettings(ServiceSettings):
    """What every worker has."""

    model: Path = Field(description="Folder of the model.")
    name: str = Field("", description="Name that the model is served under; empty: the folder's name.")
    max_waiting: PositiveInt = Field(256, description="Requests that may wait inside the worker.")
    stall_timeout: Seconds = Field(30.0, description="Seconds without progress after which it is not ready.")
    wedge_timeout: Seconds = Field(120.0, description="Seconds without progress after which its engine is killed.")

    @property
    def served_name(self) -> str:
        """What requests call the model."""
        return self.name or self.model.resolve().name


class CpuWorkerSettings(WorkerSettings):
    """cpu-worker: OpenVINO GenAI."""

    section: ClassVar[str] = "cpu"
    port: Port = Field(8040, description="Traffic port.")
    ops_port: Port = Field(9140, description="Ops port.")
    max_running: PositiveInt = Field(16, description="Requests that are generated at the same time.")
    kv_cache_mib: PositiveInt = Field(512, description="Memory for the KV cache, in MiB.")
    precision: Literal["f32", "bf16"] = Field("f32", description="Precision of the computation.")


class BertWorkerSettings(WorkerSettings):
    """bert-worker."""

    section: ClassVar[str] = "bert"
    port: Port = Field(8010, description="Traffic port.")
    ops_port: Port = Field(9110, description="Ops port.")
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="auto: a GPU where there is one and torch, else the CPU with OpenVINO."
    )
    precision: Literal["auto", "f32", "bf16"] = Field("auto", description="auto: bf16 where the device computes it.")
    max_waiting: PositiveInt = Field(4096, description="Inputs that may wait inside the worker; a call may have 2,048.")
    batch_tokens: PositiveInt = Field(1024, description="Tokens in one batch, padding included.")


class EngineSettings(WorkerSettings):
    """What the workers have whose engine is a program of its own."""

    executable: Path | None = Field(None, description="The engine's program; empty: found on the PATH.")
    max_running: PositiveInt = Field(256, description="Requests that are generated at the same time.")
    context: PositiveInt | None = Field(None, description="Tokens of prompt and output together; empty: the model's.")
    tensor_parallel: PositiveInt = Field(1, description="GPUs that each layer is spread over.")
    pipeline_parallel: PositiveInt = Field(1, description="GPUs that the layers are spread over, one after another.")
    gpu_memory: Fraction = Field(0.9, description="Part of each GPU's memory that the engine may take.")
    tool_parser: str = Field("", description="The engine's name of the parser for tool calls; empty: none.")
    reasoning_parser: str = Field("", description="The engine's name of the parser for reasoning; empty: none.")
    trust_remote_code: bool = Field(False, description="Whether to run Python code from the model's folder.")
    arguments: list[str] = Field([], description="Further arguments for the engine, verbatim.")
    startup_timeout: Seconds = Field(1800.0, description="Seconds that the engine gets to load and warm up.")
    restarts: NotNegative = Field(3, description="Times in a row that an engine that ended is started again.")


class VllmWorkerSettings(EngineSettings):
    """vllm-worker: vLLM."""

    section: ClassVar[str] = "vllm"
    port: Port = Field(8020, description="Traffic port.")
    ops_port: Port = Field(9120, description="Ops port.")
    data_parallel: PositiveInt = Field(1, description="Copies of the model inside this worker.")
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = Field("auto", description="Type of the weights.")
    quantization: str = Field("", description="vLLM's name of the quantisation; empty: what the model's files say.")
    kv_cache_gib: PositiveFloat | None = Field(
        None, description="Memory of each GPU for the KV cache, in GiB; empty: what gpu_memory leaves."
    )
    kv_cache_dtype: str = Field("auto", description="Type of the KV cache, such as fp8.")
    loras: Path | None = Field(None, description="Folder of LoRA adapters, a folder each, served under their names.")
    lora_rank: PositiveInt = Field(16, description="Largest rank of an adapter.")
    kv_events: str = Field("", description="ZMQ endpoint to publish KV cache events at, such as tcp://*:5557.")
    chat_template: Path | None = Field(None, description="File of a chat template instead of the model's own.")


class TrtWorkerSettings(EngineSettings):
    """trt-worker: TensorRT-LLM."""

    section: ClassVar[str] = "trt"
    port: Port = Field(8030, description="Traffic port.")
    ops_port: Port = Field(9130, description="Ops port.")
    backend: Literal["pytorch", "tensorrt"] = Field(
        "pytorch", description="pytorch: a Hugging Face folder; tensorrt: a built engine."
    )
    expert_parallel: PositiveInt | None = Field(None, description="GPUs that the experts are spread over.")
    max_batch_tokens: PositiveInt = Field(8192, description="Tokens in one step of the engine.")
    tokenizer: Path | None = Field(None, description="Folder of the tokenizer, where a built engine has none.")
    chunked_prefill: bool = Field(True, description="Whether long prompts are taken in over several steps.")
    options: dict[str, Any] = Field({}, description="Further options for trtllm-serve's YAML file, verbatim.")


class UpWorker(BaseModel):
    """One entry of ``up.workers``."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    model: str = Field(description="Name in the store, folder, or id on a model hub.")
    engine: Literal["", "cpu", "bert", "vllm", "trt"] = Field(
        default="", description="Empty: the best that can serve it here."
    )
    name: str = Field(default="", description="What requests call it; empty: the folder's name.")
    count: PositiveInt = Field(default=1, description="Workers of it.")
    gpus: str = Field(default="", description="GPUs that it sees, as CUDA_VISIBLE_DEVICES has them.")
    settings: dict[str, Any] = Field(default={}, description="Settings of its own, over those of its section.")


class UpSettings(Settings):
    """`headrace up`: the whole platform on one machine."""

    section: ClassVar[str] = "up"
    host: str = Field(
        "127.0.0.1", description="Address that llm-api and llm-web listen on; the rest stays on loopback."
    )
    port: Port = Field(8000, description="Port of llm-api.")
    web: bool = Field(True, description="Whether to serve the page.")
    open: bool = Field(True, description="Whether to open the page in a browser, where there is a desktop.")
    web_port: Port = Field(8080, description="Port of llm-web: the page, and llm-api behind it.")
    models: Path | None = Field(None, description="Folder of the models; empty: models under HEADRACE_HOME.")
    workers: list[UpWorker] = Field(
        [], description="Workers to run, each with model, engine, name, count, gpus, settings; empty: the demo's."
    )
    drain_timeout: Seconds = Field(30.0, description="Seconds that each service gets to finish what runs.")
    monitoring: bool = Field(False, description="Whether to run Prometheus, which must be installed, beside it.")
    prometheus_port: Port = Field(0, description="Port of Prometheus; 0 takes 9090, or a free one if that is taken.")
    scrape_interval: Seconds = Field(5.0, description="Seconds between two scrapes by that Prometheus.")
    exporters: dict[str, HostPort] = Field(
        {}, description="Further exporters that it scrapes, host:port by job; node-exporter on port 9100 is found."
    )


SECTIONS: tuple[type[Settings], ...] = (
    ApiSettings,
    RouterSettings,
    CpuWorkerSettings,
    BertWorkerSettings,
    VllmWorkerSettings,
    TrtWorkerSettings,
    UpSettings,
)

S = TypeVar("S", bound=Settings)


def load(kind: type[S], *, file: Path | None = None, flags: Mapping[str, Any] | None = None, env: bool = True) -> S:
    """The settings of one service, of which a file may hold others: flags over environment over file over defaults.

    Flags that are None were not given. Raises ConfigError, which names the source, the key and what is allowed.
    """
    return sources.build(kind, SECTIONS, file=file, flags=flags or {}, env=env)
