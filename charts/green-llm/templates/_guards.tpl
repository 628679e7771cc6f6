{{/* What is refused before anything changes. */}}
{{- define "green-llm.guards" -}}
{{- if and .Values.metrics.serviceMonitor.enabled .Values.metrics.podMonitor.enabled }}
{{- fail "metrics.serviceMonitor.enabled, metrics.podMonitor.enabled: give one of the two; both would count everything twice" }}
{{- end }}
{{- if and .Values.metrics.serviceMonitor.enabled (not .Values.metrics.service.enabled) }}
{{- fail "metrics.service.enabled: a ServiceMonitor needs the Service; set it, or use metrics.podMonitor" }}
{{- end }}
{{- if and .Values.signals.recording.enabled (gt (int .Values.replicas) 1) (not .Values.signals.recording.existingClaim) }}
{{- fail "signals.recording.existingClaim: with more than one replica, name a claim that several nodes can mount" }}
{{- end }}
{{- if .Values.rbac.create }}
{{- range (lookup "rbac.authorization.k8s.io/v1" "ClusterRole" "" "").items }}
{{- $labels := .metadata.labels | default dict }}
{{- $notes := .metadata.annotations | default dict }}
{{- if and (eq (get $labels "app.kubernetes.io/part-of" | default "") "green-llm") (hasKey $notes "meta.helm.sh/release-name") }}
{{- $owner := printf "%s/%s" (get $notes "meta.helm.sh/release-namespace") (get $notes "meta.helm.sh/release-name") }}
{{- if ne $owner (printf "%s/%s" $.Release.Namespace $.Release.Name) }}
{{- fail (printf "Green-LLM is installed already, as the release %s: two would write the same routes. Upgrade or uninstall that one." $owner) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
