{{- define "opencost-kusto.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "opencost-kusto.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "opencost-kusto.name" . -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "opencost-kusto.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride -}}
{{- end -}}

{{- define "opencost-kusto.selectorLabels" -}}
app.kubernetes.io/name: {{ include "opencost-kusto.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "opencost-kusto.labels" -}}
{{ include "opencost-kusto.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "opencost-kusto.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "opencost-kusto.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- required "Name the service account with serviceAccount.name, or let the chart create it." .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "opencost-kusto.image" -}}
{{- $repository := required "Name the container image with image.repository: none is published, so build one." .Values.image.repository -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" $repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{- define "opencost-kusto.cron" -}}
{{- $cron := default (get (dict "10m" "1-59/10 * * * *" "1h" "11 * * * *" "1d" "11 0 * * *") .Values.every) .Values.cron -}}
{{- required (printf "every: %s has no crontab line of its own; say when with cron." .Values.every) $cron -}}
{{- end -}}

{{- define "opencost-kusto.args" -}}
- "schedule"
{{- if not .Values.config }}
- "--endpoint"
- {{ required "Give the address of OpenCost with endpoint." .Values.endpoint | quote }}
{{- end }}
{{- if or .Values.kusto.uri (not .Values.config) }}
- "--kusto-uri"
- {{ required "Name the Kusto database with kusto.uri and kusto.database." .Values.kusto.uri | quote }}
{{- end }}
{{- if or .Values.kusto.database (not .Values.config) }}
- "--database"
- {{ required "Name the Kusto database with kusto.uri and kusto.database." .Values.kusto.database | quote }}
{{- end }}
- "--auth"
- "workload-identity"
- "--every"
- {{ .Values.every | quote }}
{{- if eq .Values.kind "Deployment" }}
{{- with .Values.cron }}
- "--cron"
- {{ . | quote }}
{{- end }}
- "--listen"
- ":8080"
{{- else }}
- "--once"
{{- end }}
{{- if gt (int .Values.shards) 1 }}
- "--shard"
{{- if not .Values.config }}{{ fail "shards: several divide the clusters of config, and there is no config." }}{{ end }}
- {{ printf "%s/%d" .shard (int .Values.shards) | quote }}
{{- end }}
{{- range .Values.extraArgs }}
- {{ . | quote }}
{{- end }}
{{- end -}}
