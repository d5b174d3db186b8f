{{- define "docker-universe.name" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "docker-universe.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "docker-universe.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{ include "docker-universe.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "docker-universe.image" -}}
{{- required "image.reference is required: say --set image.reference=REGISTRY/docker-universe@sha256:DIGEST" .Values.image.reference -}}
{{- end -}}

{{- define "docker-universe.lease" -}}
{{- printf "%s-operator" (include "docker-universe.name" .) -}}
{{- end -}}
