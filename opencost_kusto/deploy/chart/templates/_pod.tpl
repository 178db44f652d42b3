{{/* The template of the pods, for a CronJob and for a Deployment. */}}
{{- define "opencost-kusto.pod" -}}
metadata:
  labels:
    {{- include "opencost-kusto.selectorLabels" . | nindent 4 }}
    {{- if and (eq .Values.kind "Deployment") (gt (int .Values.shards) 1) }}
    opencost-kusto/shard: {{ .shard | quote }}
    {{- end }}
    azure.workload.identity/use: "true"
    {{- with merge (deepCopy .Values.podLabels) .Values.commonLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- if or .Values.config .Values.podAnnotations }}
  annotations:
    {{- if .Values.config }}
    # Pods start anew when the configuration changes.
    checksum/config: {{ .Values.config | sha256sum }}
    {{- end }}
    {{- with .Values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- end }}
spec:
  {{- if eq .Values.kind "CronJob" }}
  restartPolicy: Never
  {{- end }}
  serviceAccountName: {{ include "opencost-kusto.serviceAccountName" . }}
  # The webhook of workload identity mounts its own token. The API's is mounted only where OpenCost is reached through it.
  automountServiceAccountToken: {{ not (empty .Values.rbac.podNamespaces) }}
  terminationGracePeriodSeconds: {{ .Values.terminationGracePeriodSeconds }}
  {{- with .Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ . | quote }}
  {{- end }}
  {{- with .Values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  securityContext:
    {{- toYaml .Values.podSecurityContext | nindent 4 }}
  containers:
    - name: opencost-kusto
      image: {{ include "opencost-kusto.image" . | quote }}
      {{- with .Values.image.pullPolicy }}
      imagePullPolicy: {{ . }}
      {{- end }}
      args:
        {{- include "opencost-kusto.args" . | nindent 8 }}
      {{- if eq .Values.kind "Deployment" }}
      ports:
        - name: http
          containerPort: 8080
      livenessProbe:
        httpGet:
          path: /healthz
          port: http
        timeoutSeconds: 5
        periodSeconds: 20
        failureThreshold: 3
      # Not ready until the first run has succeeded, which may take as long as catching up does.
      readinessProbe:
        httpGet:
          path: /readyz
          port: http
        timeoutSeconds: 5
        periodSeconds: 30
      {{- end }}
      env:
        - name: HOME
          value: /tmp
        - name: OPENCOST_KUSTO_LOG_FORMAT
          value: json
        {{- if .Values.config }}
        - name: OPENCOST_KUSTO_CONFIG
          value: /etc/opencost-kusto/opencost-kusto.toml
        {{- end }}
        {{- with .Values.extraEnv }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- with .Values.existingSecret }}
      envFrom:
        - secretRef:
            name: {{ . | quote }}
      {{- end }}
      resources:
        {{- toYaml .Values.resources | nindent 8 }}
      securityContext:
        {{- toYaml .Values.securityContext | nindent 8 }}
      volumeMounts:
        - name: tmp
          mountPath: /tmp
        {{- if .Values.config }}
        - name: config
          mountPath: /etc/opencost-kusto
          readOnly: true
        {{- end }}
        {{- with .Values.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
  volumes:
    - name: tmp
      emptyDir:
        sizeLimit: {{ .Values.tmpSizeLimit }}
    {{- if .Values.config }}
    - name: config
      configMap:
        name: {{ include "opencost-kusto.fullname" . }}
    {{- end }}
    {{- with .Values.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end -}}
