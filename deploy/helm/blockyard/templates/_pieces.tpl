{{- define "blockyard.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag }}
{{- end }}

{{- /* What drain-pod waits at most: the drain itself, and Serve's and Ray's time to act on it. */}}
{{- define "blockyard.drainSeconds" -}}
{{ add .Values.serve.drain_s 30 }}
{{- end }}

{{- define "blockyard.graceSeconds" -}}
{{ add .Values.serve.drain_s 60 }}
{{- end }}

{{- /* Of the roles that read the model. */}}
{{- define "blockyard.mounts" -}}
- name: tmp
  mountPath: /tmp
- name: redis-ca
  mountPath: /etc/blockyard/redis-ca
  readOnly: true
{{- if .Values.modelVolume.enabled }}
- name: models
  mountPath: /models
  readOnly: true
{{- end }}
{{- end }}

{{- define "blockyard.volumes" -}}
- name: tmp
  emptyDir:
    sizeLimit: 8Gi
- name: redis-ca
  secret: {secretName: blockyard-redis-ca}
{{- if .Values.modelVolume.enabled }}
- name: models
  persistentVolumeClaim: {claimName: blockyard-models, readOnly: true}
{{- end }}
{{- end }}
