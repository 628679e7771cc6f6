"""Values that the chart is rendered with: together they reach every branch of its templates."""

from __future__ import annotations

from typing import Any

VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    "enforce": {"rbac": {"enforce": True}, "crds": {"keep": False}},
    "no rights on the cluster": {"crds": {"enabled": False}, "rbac": {"create": False}},
    "account of somebody else": {
        "serviceAccount": {"create": False, "name": "theirs"}, "rbac": {"aggregate": False}, "release": {"enabled": False},
        "metrics": {"service": {"enabled": False}},
    },
    "monitored by its Service": {
        "metrics": {
            "existingTokenSecret": "token",
            "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
            "prometheusRule": {"enabled": True, "labels": {"release": "prometheus"}},
            "dashboards": {"enabled": True, "annotations": {"grafana_folder": "Green-LLM"}},
        },
    },
    "monitored by its pods": {"metrics": {"existingTokenSecret": "token", "podMonitor": {"enabled": True, "interval": "15s"}, "service": {"enabled": False}}},
    "recording": {
        "signals": {
            "hosts": ["prometheus.monitoring.svc:9090"], "existingSecrets": ["electricity-maps"],
            "recording": {"enabled": True, "largestBytes": 107374182400, "size": "200Gi", "storageClassName": "standard"},
        },
    },
    "kept on claims": {
        "signals": {"recording": {"enabled": True, "existingClaim": "recordings"}},
        "audit": {"enabled": True, "largestBytes": 1, "size": "2Gi"},
    },
    "everything of a pod": {
        "replicas": 2, "nameOverride": "steering", "fullnameOverride": "green", "imagePullSecrets": [{"name": "pull"}],
        "image": {"repository": "example.com/green-llm", "digest": f"sha256:{'0' * 64}", "pullPolicy": "Always"},
        "podLabels": {"team": "platform"}, "podAnnotations": {"note": "1"}, "extraEnv": [{"name": "TZ", "value": "UTC"}],
        "priorityClassName": "system-cluster-critical", "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [{"key": "control-plane", "operator": "Exists", "effect": "NoSchedule"}],
        "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
            {"weight": 1, "preference": {"matchExpressions": [{"key": "disk", "operator": "In", "values": ["ssd"]}]}},
        ]}},
        "topologySpreadConstraints": [
            {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway"},
            {"maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "ScheduleAnyway"},
        ],
        "podDisruptionBudget": {"enabled": True, "maxUnavailable": "50%"},
        "networkPolicy": {
            "enabled": True, "signalPorts": [443, 9090], "apiServerPorts": [6443],
            "metricsFrom": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}],
        },
        "serviceAccount": {"name": "steering", "annotations": {"note": "1"}},
        "settings": {"solverTimeLimitSeconds": 0.5, "routeMatrix": False, "decisionLog": False, "relistSeconds": 600},
    },
}  # fmt: skip

WRONG: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "misspelt": ({"replica": 2}, ("replica", "not allowed")),
    "misspelt within": ({"metrics": {"serviceMonitor": {"enable": True}}}, ("metrics.serviceMonitor", "enable")),
    "text for a number": ({"replicas": "two"}, ("replicas", "integer")),
    "number out of bounds": ({"settings": {"relistSeconds": 0}}, ("relistSeconds",)),
    "word out of a list": ({"image": {"pullPolicy": "Sometimes"}}, ("pullPolicy", "IfNotPresent")),
    "no digest": ({"image": {"digest": "abc"}}, ("image.digest",)),
    "a URL for a host": ({"signals": {"hosts": ["https://example.com/x"]}}, ("signals.hosts",)),
    "no quantity": ({"resources": {"limits": {"memory": "much"}}}, ("resources.limits.memory",)),
    "no port": ({"networkPolicy": {"apiServerPorts": [0]}}, ("networkPolicy.apiServerPorts",)),
}
