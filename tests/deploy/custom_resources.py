"""What our custom resources may hold: the fields that we use, from the upstream types; unknown keys are refused.

Each kind names the project, the commit and the file that it was written from. ``python -m scripts.crds`` holds the same
objects against the upstream definitions themselves, where checkouts of those projects are at hand.
"""

from __future__ import annotations

from typing import Any

import jsonschema

Schema = dict[str, Any]


def obj(required: str = "", /, **properties: Schema) -> Schema:
    """A mapping with these keys and no others; ``required`` names some, separated by spaces."""
    return {
        "type": "object",
        "properties": properties,
        "required": required.split(),
        "additionalProperties": False,
    }


def items(of: Schema) -> Schema:
    return {"type": "array", "items": of}


def kind(version: str, name: str, spec: Schema, **more: Schema) -> Schema:
    metadata = obj("name", name=TEXT, namespace=TEXT, labels=TEXTS, annotations=TEXTS, finalizers=items(TEXT))
    fixed = {"apiVersion": {"const": version}, "kind": {"const": name}}
    return obj("apiVersion kind metadata spec", **fixed, metadata=metadata, spec=spec, **more)


TEXT: Schema = {"type": "string"}
TEXTS: Schema = {"type": "object", "additionalProperties": TEXT}
NUMBER: Schema = {"type": "integer"}
FLAG: Schema = {"type": "boolean"}
DURATION: Schema = {"type": "string", "pattern": "^([0-9]{1,5}(h|m|s|ms)){1,4}$"}

_SELECTOR = obj(
    matchLabels=TEXTS, matchExpressions=items(obj("key operator", key=TEXT, operator=TEXT, values=items(TEXT)))
)
_PARENT = obj("name", name=TEXT, namespace=TEXT, sectionName=TEXT)
_MATCH = obj("path", path=obj("type value", type={"enum": ["PathPrefix", "Exact"]}, value=TEXT))
_BACKEND = obj("name port", name=TEXT, port=NUMBER)
_BEHAVIOUR = obj(
    stabilizationWindowSeconds=NUMBER,
    policies=items(
        obj("type value periodSeconds", type={"enum": ["Pods", "Percent"]}, value=NUMBER, periodSeconds=NUMBER)
    ),
)

# kubernetes-sigs/gateway-api 4564255a, config/crd/standard/gateway.networking.k8s.io_httproutes.yaml
HTTP_ROUTE = kind(
    "gateway.networking.k8s.io/v1",
    "HTTPRoute",
    obj(
        "parentRefs rules",
        parentRefs=items(_PARENT),
        hostnames=items(TEXT),
        rules=items(
            obj(
                "matches backendRefs",
                matches=items(_MATCH),
                timeouts=obj(request=DURATION, backendRequest=DURATION),
                backendRefs=items(_BACKEND),
            )
        ),
    ),
)

# kedacore/keda 8b4f083c, config/crd/bases/keda.sh_scaledobjects.yaml
SCALED_OBJECT = kind(
    "keda.sh/v1alpha1",
    "ScaledObject",
    obj(
        "scaleTargetRef triggers",
        scaleTargetRef=obj("name", name=TEXT),
        minReplicaCount=NUMBER,
        maxReplicaCount=NUMBER,
        pollingInterval=NUMBER,
        cooldownPeriod=NUMBER,
        fallback=obj("failureThreshold replicas", failureThreshold=NUMBER, replicas=NUMBER),
        advanced=obj(
            horizontalPodAutoscalerConfig=obj(behavior=obj(scaleUp=_BEHAVIOUR, scaleDown=_BEHAVIOUR)),
        ),
        triggers=items(obj("type metadata", type=TEXT, metadata=TEXTS)),
    ),
)

# metallb/metallb 7938d3f8, config/crd/bases/metallb.io_*.yaml
ADDRESS_POOL = kind(
    "metallb.io/v1beta1",
    "IPAddressPool",
    obj(
        "addresses",
        addresses=items(TEXT),
        autoAssign=FLAG,
        avoidBuggyIPs=FLAG,
        serviceAllocation=obj(priority=NUMBER, namespaces=items(TEXT)),
    ),
)
L2_ADVERTISEMENT = kind(
    "metallb.io/v1beta1",
    "L2Advertisement",
    obj(ipAddressPools=items(TEXT), nodeSelectors=items(_SELECTOR), interfaces=items(TEXT)),
)
BGP_ADVERTISEMENT = kind(
    "metallb.io/v1beta1",
    "BGPAdvertisement",
    obj(ipAddressPools=items(TEXT), peers=items(TEXT), aggregationLength=NUMBER, communities=items(TEXT)),
)
BGP_PEER = kind(
    "metallb.io/v1beta2",
    "BGPPeer",
    obj(
        "myASN peerASN peerAddress",
        myASN=NUMBER,
        peerASN=NUMBER,
        peerAddress=TEXT,
        holdTime=DURATION,
        bfdProfile=TEXT,
        passwordSecret=obj("name", name=TEXT),
        nodeSelectors=items(_SELECTOR),
    ),
)
BFD_PROFILE = kind(
    "metallb.io/v1beta1",
    "BFDProfile",
    obj(receiveInterval=NUMBER, transmitInterval=NUMBER, detectMultiplier=NUMBER),
)

# kubernetes-sigs/gateway-api 4564255a, config/crd/standard/gateway.networking.k8s.io_gateways.yaml
GATEWAY = kind(
    "gateway.networking.k8s.io/v1",
    "Gateway",
    obj(
        "gatewayClassName listeners",
        gatewayClassName=TEXT,
        addresses=items(obj("type value", type=TEXT, value=TEXT)),
        listeners=items(
            obj(
                "name port protocol",
                name=TEXT,
                port=NUMBER,
                protocol={"enum": ["HTTP", "HTTPS"]},
                hostname=TEXT,
                tls=obj(mode={"enum": ["Terminate"]}, certificateRefs=items(obj("name", kind=TEXT, name=TEXT))),
                allowedRoutes=obj(namespaces=obj("from", **{"from": {"enum": ["Selector"]}}, selector=_SELECTOR)),
            )
        ),
    ),
)

_SYNC = obj(
    automated=obj(prune=FLAG, selfHeal=FLAG, enabled=FLAG),
    syncOptions=items(TEXT),
    retry=obj(limit=NUMBER, refresh=FLAG, backoff=obj(duration=DURATION, factor=NUMBER, maxDuration=DURATION)),
)
_SOURCE = obj(
    "repoURL targetRevision",
    repoURL=TEXT,
    targetRevision=TEXT,
    path=TEXT,
    chart=TEXT,
    ref=TEXT,
    directory=obj(recurse=FLAG, include=TEXT, exclude=TEXT),
    helm=obj(releaseName=TEXT, valueFiles=items(TEXT)),
)
_DESTINATION = obj("server namespace", server=TEXT, namespace=TEXT)
_GROUP_KIND = obj("group kind", group=TEXT, kind=TEXT)

# argoproj/argo-cd 37ee0097, manifests/crds/application-crd.yaml and appproject-crd.yaml
APPLICATION = kind(
    "argoproj.io/v1alpha1",
    "Application",
    obj(
        "project destination syncPolicy",
        project=TEXT,
        source=_SOURCE,
        sources=items(_SOURCE),
        destination=_DESTINATION,
        syncPolicy=_SYNC,
        ignoreDifferences=items(
            obj("kind", group=TEXT, kind=TEXT, name=TEXT, jsonPointers=items(TEXT), jqPathExpressions=items(TEXT))
        ),
        revisionHistoryLimit=NUMBER,
    ),
)
APP_PROJECT = kind(
    "argoproj.io/v1alpha1",
    "AppProject",
    obj(
        "sourceRepos destinations clusterResourceWhitelist",
        description=TEXT,
        sourceRepos=items(TEXT),
        destinations=items(_DESTINATION),
        clusterResourceWhitelist=items(_GROUP_KIND),
        namespaceResourceBlacklist=items(_GROUP_KIND),
        orphanedResources=obj(warn=FLAG),
    ),
)

# argoproj-labs/argocd-image-updater de2cfec6, config/crd/bases/argocd-image-updater.argoproj.io_imageupdaters.yaml
IMAGE_UPDATER = kind(
    "argocd-image-updater.argoproj.io/v1alpha1",
    "ImageUpdater",
    obj(
        "applicationRefs",
        imagesVerification=obj(cosignKey=obj("secretName key", secretName=TEXT, key=TEXT)),
        writeBackConfig=obj(
            method={"type": "string", "pattern": "^(argocd|git|git:[a-zA-Z0-9][a-zA-Z0-9-._/:]*)$"},
            gitConfig=obj(
                branch=TEXT,
                writeBackTarget=TEXT,
                pullRequest=obj(github=obj(), labels=items(TEXT)),
            ),
        ),
        applicationRefs=items(
            obj(
                "namePattern images",
                namePattern=TEXT,
                images=items(
                    obj(
                        "alias imageName",
                        alias=TEXT,
                        imageName=TEXT,
                        commonUpdateSettings=obj(
                            updateStrategy={"enum": ["semver"]},
                            allowTags=TEXT,
                            ignoreTags=items(TEXT),
                            pullSecret=TEXT,
                        ),
                        manifestTargets=obj(helm=obj(name=TEXT, tag=TEXT)),
                    )
                ),
            )
        ),
    ),
)

# prometheus-operator/prometheus-operator 6adcebc5, example/prometheus-operator-crd/monitoring.coreos.com_*.yaml
_ENDPOINT = obj("port", port=TEXT, interval=DURATION, scrapeTimeout=DURATION)
SERVICE_MONITOR = kind(
    "monitoring.coreos.com/v1",
    "ServiceMonitor",
    obj("endpoints selector", jobLabel=TEXT, sampleLimit=NUMBER, selector=_SELECTOR, endpoints=items(_ENDPOINT)),
)
POD_MONITOR = kind(
    "monitoring.coreos.com/v1",
    "PodMonitor",
    obj("selector", jobLabel=TEXT, sampleLimit=NUMBER, selector=_SELECTOR, podMetricsEndpoints=items(_ENDPOINT)),
)
_RULE = obj("expr", record=TEXT, alert=TEXT, expr=TEXT, labels=TEXTS, annotations=TEXTS, **{"for": DURATION})
PROMETHEUS_RULE = kind(
    "monitoring.coreos.com/v1",
    "PrometheusRule",
    obj(groups=items(obj("name", name=TEXT, interval=DURATION, rules=items(_RULE)))),
)

KINDS: dict[str, Schema] = {
    schema["properties"]["kind"]["const"]: schema
    for schema in (
        HTTP_ROUTE,
        SCALED_OBJECT,
        ADDRESS_POOL,
        L2_ADVERTISEMENT,
        BGP_ADVERTISEMENT,
        BGP_PEER,
        BFD_PROFILE,
        GATEWAY,
        APPLICATION,
        APP_PROJECT,
        IMAGE_UPDATER,
        SERVICE_MONITOR,
        POD_MONITOR,
        PROMETHEUS_RULE,
    )
}


def check(item: dict[str, Any]) -> None:
    """Raises jsonschema.ValidationError."""
    jsonschema.validate(item, KINDS[item["kind"]])
