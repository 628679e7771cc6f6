{{- define "green-llm.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "green-llm.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else if contains (include "green-llm.name" .) .Release.Name }}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "green-llm.name" .) | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "green-llm.selector" -}}
app.kubernetes.io/name: {{ include "green-llm.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "green-llm.labels" -}}
{{ include "green-llm.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: green-llm
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "green-llm.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "green-llm.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- required "serviceAccount.name: name the account, since serviceAccount.create is false" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "green-llm.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end }}
{{- end }}

{{- define "green-llm.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "green-llm.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* What is kept on a volume: name and claim. */}}
{{- define "green-llm.kept" -}}
{{- $kept := dict }}
{{- if .Values.signals.recording.enabled }}{{- $_ := set $kept "recordings" .Values.signals.recording }}{{- end }}
{{- if .Values.audit.enabled }}{{- $_ := set $kept "audit" .Values.audit }}{{- end }}
{{- toYaml $kept }}
{{- end }}
