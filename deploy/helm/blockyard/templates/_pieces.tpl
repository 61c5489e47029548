{{- define "blockyard.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag }}
{{- end }}

{{- define "blockyard.pullSecrets" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end }}

{{- /* Who pods are that fetch a model, and the group that may write where they put it. */}}
{{- define "blockyard.fetcher" -}}
{{- with .Values.serviceAccountName }}
serviceAccountName: {{ . }}
{{- end }}
securityContext:
  <<: *pod-security
  {{- if and .Values.modelStore.enabled (not (kindIs "invalid" .Values.modelStore.fsGroup)) }}
  fsGroup: {{ .Values.modelStore.fsGroup }}
  fsGroupChangePolicy: OnRootMismatch
  {{- end }}
{{- end }}

{{- /* Load decides how many replicas there are. */}}
{{- define "blockyard.scales" -}}
{{- if or .Values.serve.minReplicas .Values.serve.maxReplicas }}true{{ end }}
{{- end }}

{{- define "blockyard.leastReplicas" -}}
{{ .Values.serve.minReplicas | default .Values.serve.replicas }}
{{- end }}

{{- /* What drain-pod waits at most: the drain itself, and Serve's and Ray's time to act on it. */}}
{{- define "blockyard.drainSeconds" -}}
{{ add .Values.serve.drain_s 30 }}
{{- end }}

{{- define "blockyard.graceSeconds" -}}
{{ add .Values.serve.drain_s 60 }}
{{- end }}

{{- /* Where a kubelet asks, which speaks no TLS. */}}
{{- define "blockyard.probed" -}}
{{ ternary 8804 .own .tls }}
{{- end }}

{{- /* Of every role of ours; `model`: of those that read it; `keys`: of those that ask for them. */}}
{{- define "blockyard.mounts" -}}
- name: tmp
  mountPath: /tmp
- name: redis-ca
  mountPath: /etc/blockyard/redis-ca
  readOnly: true
{{- if and .model .Values.modelVolume.enabled }}
- name: models
  mountPath: /models
  {{- if not .Values.modelStore.enabled }}
  readOnly: true
  {{- end }}
{{- end }}
{{- if and .keys .Values.apiKeys.enabled }}
- name: api-keys
  mountPath: /etc/blockyard/api-keys
  readOnly: true
{{- end }}
{{- if .Values.mtls.enabled }}
- name: internal-tls
  mountPath: /etc/blockyard/internal-tls
  readOnly: true
{{- end }}
{{- end }}

{{- define "blockyard.volumes" -}}
- name: tmp
  emptyDir:
    sizeLimit: 8Gi
- name: redis-ca
  secret: {secretName: blockyard-redis-ca}
{{- if and .model .Values.modelVolume.enabled }}
- name: models
  persistentVolumeClaim:
    claimName: {{ .Values.modelVolume.existingClaim | default "blockyard-models" }}
    {{- if not .Values.modelStore.enabled }}
    readOnly: true
    {{- end }}
{{- end }}
{{- if and .keys .Values.apiKeys.enabled }}
- name: api-keys
  secret: {secretName: blockyard-api-keys}
{{- end }}
{{- if .Values.mtls.enabled }}
- name: internal-tls
  secret: {secretName: blockyard-internal-tls}
{{- end }}
{{- end }}

{{- /* Credentials of the store that models come from, as the environment of whoever fetches. */}}
{{- define "blockyard.modelCredentials" -}}
{{- if .Values.modelStore.enabled }}
envFrom:
  - secretRef: {name: {{ .Values.modelStore.secret }}, optional: true}
{{- end }}
{{- end }}
