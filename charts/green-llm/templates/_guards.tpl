{{/* What is refused before anything changes. */}}
{{- define "green-llm.guards" -}}
{{- if and .Values.metrics.serviceMonitor.enabled .Values.metrics.podMonitor.enabled }}
{{- fail "metrics.serviceMonitor.enabled, metrics.podMonitor.enabled: give one of the two; both would count everything twice" }}
{{- end }}
{{- if and .Values.metrics.serviceMonitor.enabled (not .Values.metrics.service.enabled) }}
{{- fail "metrics.service.enabled: a ServiceMonitor needs the Service; set it, or use metrics.podMonitor" }}
{{- end }}
{{- if and (or .Values.signals.recording.enabled .Values.audit.enabled) (gt (int .Values.replicas) 1) }}
{{- fail "replicas: with signals.recording.enabled or audit.enabled there is one; two may not write the same files" }}
{{- end }}
{{- if .Values.rbac.create }}
{{- range (lookup "rbac.authorization.k8s.io/v1" "ClusterRole" "" "").items }}
{{- $owner := get (.metadata.annotations | default dict) "greenllm.dev/installation" }}
{{- if and $owner (ne $owner (printf "%s/%s" $.Release.Namespace $.Release.Name)) }}
{{- fail (printf "Green-LLM is installed already, as %s: two would write the same routes; upgrade or uninstall that one" $owner) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
